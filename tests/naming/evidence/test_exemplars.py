"""Exemplars against a plain sort of every token, with equal activations, any cut, any order of chunks, and merges."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from naming import Exemplars
from naming.evidence import exemplars as module
from sae import InsightError, SparseCodes

from ..stand_in import chunks, dense_codes, random_dense


def gathered(dense: torch.Tensor, size: int, sizes: list[int] = (), first: int = 0) -> Exemplars:
    exemplars = Exemplars(dense.shape[1], size)
    for start, codes in chunks(dense, list(sizes)):
        exemplars.update(codes, first + start)
    return exemplars


def by_sorting(dense: torch.Tensor, concept: int, size: int) -> list[tuple[int, float]]:
    entries = [(-float(a), token) for token, a in enumerate(dense[:, concept]) if a > 0]
    return [(token, -negative) for negative, token in sorted(entries)[:size]]


def found(exemplars: Exemplars, concept: int) -> list[tuple[int, float]]:
    tokens, activations = exemplars.top(concept)
    return list(zip(tokens.tolist(), activations.tolist(), strict=True))


@given(dense_codes(), st.integers(1, 6), st.lists(st.integers(0, 15), max_size=4))
def test_the_strongest_tokens_are_those_of_a_sort_however_the_stream_is_cut(dense, size, sizes):
    exemplars = gathered(dense, size, sizes)
    for concept in range(dense.shape[1]):
        assert found(exemplars, concept) == by_sorting(dense, concept, size)


@pytest.fixture
def eager(monkeypatch):
    """Seek the strongest after every chunk, as a long stream does now and then."""
    monkeypatch.setattr(module, "FEWEST_PENDING", 1)


def test_a_long_stream_with_a_bounded_store_gives_the_same(generator, eager):
    dense = random_dense(generator, 3000, 12).mul(20).ceil().div(20)  # with ties
    exemplars = gathered(dense, 5, [97] * 30)
    for concept in range(12):
        assert found(exemplars, concept) == by_sorting(dense, concept, 5)


def test_chunks_may_come_in_any_order(generator, eager):
    dense = random_dense(generator, 600, 8).mul(10).ceil().div(10)
    exemplars = Exemplars(8, 7)
    for start, codes in reversed(chunks(dense, [50] * 11)):
        exemplars.update(codes, start)
    for concept in range(8):
        assert found(exemplars, concept) == by_sorting(dense, concept, 7)


@given(dense_codes(), st.integers(0, 40), st.integers(1, 5))
def test_merged_passes_equal_one_pass(dense, cut, size):
    merged = gathered(dense[cut:], size, first=min(cut, len(dense)))
    merged.merge(gathered(dense[:cut], size))
    for concept in range(dense.shape[1]):
        assert found(merged, concept) == by_sorting(dense, concept, size)
    expected = gathered(dense, size).mean_codes().toarray()
    np.testing.assert_allclose(merged.mean_codes().toarray(), expected, rtol=1e-6)


def test_mean_codes_are_the_mean_of_the_strongest_tokens(generator, eager):
    dense = random_dense(generator, 400, 15)
    mean = gathered(dense, 6, [60] * 5).mean_codes()
    assert mean.shape == (15, 15)
    for concept in range(15):
        tokens = [token for token, _ in by_sorting(dense, concept, 6)]
        expected = dense[tokens].double().mean(0) if tokens else torch.zeros(15)
        np.testing.assert_allclose(mean.toarray()[concept], expected.numpy(), rtol=1e-6)


def test_the_table_holds_every_concept_in_turn(generator):
    exemplars = gathered(random_dense(generator, 200, 9), 4)
    offsets, tokens, activations = exemplars.table()
    for concept in range(9):
        part = slice(int(offsets[concept]), int(offsets[concept + 1]))
        assert list(zip(tokens[part].tolist(), activations[part].tolist(), strict=True)) == found(exemplars, concept)


def test_reading_between_chunks_changes_nothing(generator):
    dense = random_dense(generator, 300, 6)
    exemplars = Exemplars(6, 5)
    for start, codes in chunks(dense, [100, 100]):
        exemplars.update(codes, start)
        exemplars.mean_codes()
    assert [found(exemplars, c) for c in range(6)] == [by_sorting(dense, c, 5) for c in range(6)]


def test_without_tokens_nothing_is_found():
    exemplars = Exemplars(3)
    assert found(exemplars, 0) == []
    assert exemplars.mean_codes().nnz == 0


def test_codes_of_another_width_and_a_token_given_twice_are_refused():
    exemplars = Exemplars(3)
    with pytest.raises(InsightError, match="3 concepts"):
        exemplars.update(SparseCodes.from_dense(torch.ones(1, 2)), 0)
    exemplars.update(SparseCodes.from_dense(torch.ones(2, 3)), 0)
    exemplars.update(SparseCodes.from_dense(torch.ones(1, 3)), 1)
    with pytest.raises(InsightError, match="given twice"):
        exemplars.top(0)
