"""Levels share their pairs: what they reconstruct is what dense prefixes reconstruct."""

import pytest
import torch

from sae.codes import SparseCodes
from sae.nested import add_reconstructions, by_concept, split_levels


@pytest.mark.parametrize("levels", [[20], [3, 20], [1, 2, 9, 19, 20]])
def test_each_level_reconstructs_with_its_prefix(generator, levels):
    dense = torch.rand(15, 20, generator=generator) * (torch.rand(15, 20, generator=generator) < 0.3)
    decoder, start = torch.randn(20, 6, generator=generator), torch.randn(15, 6, generator=generator)
    out = torch.full((len(levels), 15, 6), torch.nan)
    out[0] = start
    add_reconstructions(split_levels(SparseCodes.from_dense(dense), levels), decoder, out)
    for index, size in enumerate(levels):
        torch.testing.assert_close(out[index], start + dense[:, :size] @ decoder[:size])


def test_pairs_by_concept_are_the_transpose(generator):
    dense = torch.rand(15, 20, generator=generator) * (torch.rand(15, 20, generator=generator) < 0.3)
    pairs = split_levels(SparseCodes.from_dense(dense), [4, 11, 20])
    for level, (pattern, order) in zip(pairs, by_concept(pairs)):
        transposed = SparseCodes(pattern.offsets.long(), pattern.columns, level.activations[order], pattern.n_columns)
        assert torch.equal(transposed.dense().T, dense[:, level.first : level.last])
