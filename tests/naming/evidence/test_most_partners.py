"""A bounded number of partners: what is missed is within the bound that is proven, and nothing is where all fit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naming import Cooccurrence, RegionPairs
from naming.evidence import cooccurrence, regions
from sae import InsightError, SparseCodes

from .images import random_images, region_pairs
from .reference import MATRICES

M = 24
BOUNDS = {**dict.fromkeys(MATRICES, "missed"), "beside": "missed_beside"}


def codes_of(seed: int, tokens: int = 200) -> torch.Tensor:
    """float32 [tokens, M]: from concepts that fire everywhere to some that seldom do."""
    generator = torch.Generator().manual_seed(seed)
    often = 1 / (1 + torch.arange(M))
    return (torch.rand(tokens, M, generator=generator) + 0.1) * (torch.rand(tokens, M, generator=generator) < often)


def counted(dense: torch.Tensor, most_partners: int | None, pieces: int = 10) -> Cooccurrence:
    counts = Cooccurrence(M, most_partners=most_partners)
    for part in dense.tensor_split(pieces):
        counts.update(SparseCodes.from_dense(part))
    return counts


@pytest.fixture
def eager(monkeypatch):
    """Sums are merged after every chunk, as in a long stream."""
    monkeypatch.setattr(cooccurrence, "BUFFERED", 1)
    monkeypatch.setattr(regions, "BUFFERED", 1)


def off_diagonal(counts: np.ndarray) -> np.ndarray:
    return np.where(np.eye(len(counts), dtype=bool), 0, counts)


def assert_within_bound(bounded: Cooccurrence, dense: torch.Tensor) -> None:
    """Against dense float64 products; what is kept is never too much."""
    strength, active = dense.double().numpy(), (dense > 0).double().numpy()
    counts, weighted = active.T @ active, strength.T @ active
    lacking = counts - bounded.counts.toarray()
    assert (lacking >= 0).all()
    assert (lacking.max(1) <= bounded.missed).all()
    assert (bounded.missed <= off_diagonal(counts).sum(1) / (bounded.most_partners + 1)).all()
    lacking_weight = weighted - bounded.weighted.toarray()
    assert (lacking_weight >= -1e-9).all()
    assert (lacking_weight.max(1) <= bounded.missed * strength.max(0) + 1e-9).all()
    assert np.array_equal(np.diag(bounded.counts.toarray()), np.diag(counts))
    assert (np.diff(bounded.counts.indptr) <= bounded.most_partners + 1).all()


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, M), st.integers(1, 12))
def test_what_is_missed_is_within_the_bound_however_the_stream_is_cut(seed, most_partners, pieces):
    dense = codes_of(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence, "BUFFERED", 1)
        bounded = counted(dense, most_partners, pieces)
        assert_within_bound(bounded, dense)
        merged, other = (counted(part, most_partners, pieces) for part in dense.split([120, 80]))
        merged.merge(other)
        assert_within_bound(merged, dense)


def test_something_is_missed_where_rows_are_too_short(eager):
    """So the test above has something to find; eight concepts that all meet each other have seven partners."""
    bounded = counted((codes_of(0)[:, :8] > -1).float() @ torch.eye(8, M), 3)
    assert (bounded.missed[:8] > 0).all()
    assert bounded.counts.nnz <= 8 * 4


def test_partners_met_most_stay_with_their_exact_numbers(eager):
    """Concept 0 always meets 1 and 2, and another one each time: the two are never dropped."""
    dense = torch.zeros(420, M)
    dense[:, :3] = 0.5
    dense[torch.arange(420), 3 + torch.arange(420) % (M - 3)] = 1
    bounded = counted(dense, 4, 30)
    assert bounded.missed[0] > 0
    assert bounded.counts[0, 1] == bounded.counts[0, 2] == 420
    assert bounded.weighted[0, 2] == 210


def test_nothing_is_missed_where_all_partners_fit(generator, eager):
    dense = codes_of(int(torch.randint(2**31, (1,), generator=generator)))
    bounded, exact = counted(dense, M - 1), counted(dense, None)
    assert np.array_equal(bounded.counts.toarray(), exact.counts.toarray())
    assert np.array_equal(bounded.weighted.toarray(), exact.weighted.toarray())
    assert not bounded.missed.any()
    images = random_images(generator, 8, (3, 4), 9)
    bounded, exact = (region_pairs(images, (3, 4), (2, 5), most_partners=most) for most in (8, None))
    for name in MATRICES:
        assert np.array_equal(getattr(bounded, name).toarray(), getattr(exact, name).toarray())
    assert not bounded.missed.any()
    assert not bounded.missed_beside.any()


@pytest.mark.parametrize("most_partners", [1, 2, 4])
def test_regions_miss_no_more_than_the_bound_says(generator, eager, most_partners):
    images = random_images(generator, 24, (3, 4), 9)
    cuts = tuple(range(1, 24))
    bounded = region_pairs(images, (3, 4), cuts, most_partners=most_partners)
    exact = region_pairs(images, (3, 4), cuts)
    for name, missed in BOUNDS.items():
        lacking = getattr(exact, name).toarray() - getattr(bounded, name).toarray()
        assert (lacking >= -1e-9).all()
        assert (lacking.max(1) <= getattr(bounded, missed) + 1e-9).all()
    assert (bounded.missed <= exact.inside.sum(1) / (most_partners + 1)).all()
    assert (bounded.missed_beside <= exact.beside.sum(1) / (most_partners + 1)).all()
    assert bounded.missed.any()


def test_bounded_sums_are_read_back_and_go_on(eager, tmp_path):
    dense = codes_of(5)
    first = counted(dense[:100], 4)
    first.save(tmp_path / "counts.npz")
    loaded = Cooccurrence.load(tmp_path / "counts.npz")
    assert loaded.most_partners == 4
    assert np.array_equal(loaded.missed, first.missed)
    for part in dense[100:].split(10):
        loaded.update(SparseCodes.from_dense(part))
    assert_within_bound(loaded, dense)


def test_what_cannot_be_is_refused():
    with pytest.raises(InsightError, match="most_partners: expected at least 1, found 0"):
        Cooccurrence(4, most_partners=0)
    with pytest.raises(InsightError, match="most_partners"):
        RegionPairs(4, (2, 2), most_partners=-1)
    with pytest.raises(InsightError, match="same `most_partners`, found 3 and None"):
        Cooccurrence(4, most_partners=3).merge(Cooccurrence(4))
