"""Levels share their pairs: what they reconstruct is what dense prefixes reconstruct."""

import pytest
import torch

from sae.codes import SparseCodes
from sae.nested import by_prefix, by_rank, reconstructions


def random_dense(generator):
    return torch.rand(15, 20, generator=generator) * (torch.rand(15, 20, generator=generator) < 0.3)


@pytest.mark.parametrize("levels", [[20], [3, 20], [1, 2, 9, 19, 20]])
def test_each_level_reconstructs_with_its_prefix(generator, levels):
    dense, decoder, start = random_dense(generator), torch.randn(20, 6, generator=generator), torch.randn(6)
    found = reconstructions(SparseCodes.from_dense(dense), levels, decoder, start)
    for index, size in enumerate(levels):
        torch.testing.assert_close(found[index], start + dense[:, :size] @ decoder[:size])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)  # by different kernels
def test_codes_of_a_level_use_the_first_rows_of_the_decoder(generator, dtype):
    dense, decoder = random_dense(generator).to(dtype), torch.randn(20, 6, generator=generator).to(dtype)
    codes = SparseCodes.from_dense(dense[:, :8].contiguous())
    found = reconstructions(codes, [8], decoder, torch.zeros(6, dtype=dtype))
    torch.testing.assert_close(found[0], dense[:, :8] @ decoder[:8])


def test_pairs_by_concept_are_the_transpose(generator):
    dense, levels = random_dense(generator), [4, 11, 20]
    pairs = by_prefix(SparseCodes.from_dense(dense), levels)
    by_token, by_level, order = pairs.by_concept()
    transposed = SparseCodes(by_token.offsets, by_token.columns, pairs.activations[order], by_token.n_columns)
    assert torch.equal(transposed.dense().T, dense)
    apart = SparseCodes(by_level.offsets, by_level.columns, pairs.activations[order], by_level.n_columns).dense()
    for level, (first, last) in enumerate([(0, 4), (4, 11), (11, 20)]):
        own = torch.zeros(15, 20)
        own[:, first:last] = dense[:, first:last]
        assert torch.equal(apart[:, level * 15 : (level + 1) * 15].T, own)


def test_ranks_are_the_strongest_of_each_token(generator):
    dense, ks = random_dense(generator), [1, 3, 20]
    pairs = by_rank(SparseCodes.from_dense(dense), ks)
    rows = torch.repeat_interleave(torch.arange(15), pairs.pattern.offsets.diff())
    for level, k in enumerate(ks):
        own = pairs.levels <= level
        found = torch.zeros(15, 20)
        found[rows[own], pairs.pattern.columns[own].long()] = pairs.activations[own]
        values, places = torch.topk(dense, k, dim=1)
        assert torch.equal(found, torch.zeros(15, 20).scatter(1, places, values))
    same_row = rows[1:] == rows[:-1]
    assert (pairs.levels.int().diff()[same_row] >= 0).all()
