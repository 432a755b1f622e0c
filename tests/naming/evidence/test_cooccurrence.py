"""Cooccurrence against dense float64 products, however the codes are cut, and at widths where m × m would not fit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from naming import Cooccurrence
from naming.evidence import cooccurrence as module
from sae import InsightError, SparseCodes

from ..stand_in import chunks, dense_codes, random_dense


def counted(dense: torch.Tensor, sizes: list[int] = ()) -> Cooccurrence:
    counts = Cooccurrence(dense.shape[1])
    for _, codes in chunks(dense, list(sizes)):
        counts.update(codes)
    return counts


def assert_same(one: Cooccurrence, other: Cooccurrence) -> None:
    assert one.tokens == other.tokens
    assert np.array_equal(one.frequency, other.frequency)
    assert np.array_equal(one.counts.toarray(), other.counts.toarray())
    np.testing.assert_allclose(one.weighted.toarray(), other.weighted.toarray(), rtol=1e-12)


def test_both_matrices_are_the_dense_products(generator):
    dense = random_dense(generator, 500, 40)
    found = counted(dense, [7, 0, 123])
    strength, active = dense.double().numpy(), (dense > 0).double().numpy()
    assert np.array_equal(found.counts.toarray(), active.T @ active)
    np.testing.assert_allclose(found.weighted.toarray(), strength.T @ active, rtol=1e-12)
    assert np.array_equal(found.frequency, active.sum(0))
    assert found.tokens == 500


@given(dense_codes(), st.lists(st.integers(0, 20), max_size=4))
def test_any_cut_of_the_stream_gives_the_same_counts(dense, sizes):
    assert_same(counted(dense, sizes), counted(dense))


@given(dense_codes(), st.integers(0, 40))
def test_merged_passes_equal_one_pass(dense, cut):
    merged = counted(dense[:cut])
    other = counted(dense[cut:])
    merged.merge(other)
    assert_same(merged, counted(dense))
    assert_same(other, counted(dense[cut:]))


def test_many_products_are_summed_as_one(generator, monkeypatch):
    monkeypatch.setattr(module, "BUFFERED", 50)
    dense = random_dense(generator, 400, 30)
    assert_same(counted(dense, [11] * 30), counted(dense))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_activations_are_summed_in_double(generator, dtype):
    dense = random_dense(generator, 3000, 5).to(dtype)
    expected = dense.double().T @ (dense > 0).double()
    np.testing.assert_allclose(counted(dense).weighted.toarray(), expected.numpy(), rtol=1e-12)


def test_saved_counts_are_read_back(generator, tmp_path):
    found = counted(random_dense(generator, 100, 12))
    found.save(tmp_path / "counts.npz")
    loaded = Cooccurrence.load(tmp_path / "counts.npz")
    assert_same(loaded, found)
    loaded.merge(found)
    assert loaded.tokens == 200


def test_without_tokens_everything_is_zero():
    empty = Cooccurrence(70_000)
    assert empty.counts.nnz == empty.weighted.nnz == empty.tokens == 0


def test_memory_grows_with_the_pairs_that_meet_not_with_the_width(generator):
    n, m, k = 2000, 65_536, 16
    concepts = torch.randint(m // k, (n, k), generator=generator) + torch.arange(k) * (m // k)
    offsets = torch.arange(n + 1) * k
    codes = SparseCodes(offsets, concepts.flatten().int(), torch.rand(n * k, generator=generator) + 0.01, m)
    counts = Cooccurrence(m)
    counts.update(codes)
    assert counts.counts.nnz <= n * k * k
    assert int(counts.counts.sum()) == n * k * k
    assert counts.weighted.sum() == pytest.approx(k * float(codes.activations.double().sum()))


def test_codes_of_another_width_are_refused():
    with pytest.raises(InsightError, match="4 concepts, found 3"):
        Cooccurrence(4).update(SparseCodes.from_dense(torch.ones(1, 3)))
    with pytest.raises(InsightError, match="4 concepts, found 3"):
        Cooccurrence(4).merge(Cooccurrence(3))


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "counts.npz"
    path.write_bytes(content)
    with pytest.raises(InsightError, match=r"counts\.npz"):
        Cooccurrence.load(path)


def test_a_missing_file_and_missing_arrays_are_named(tmp_path):
    with pytest.raises(InsightError, match="no such file"):
        Cooccurrence.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", counts=np.zeros(3))
    with pytest.raises(InsightError, match="expected arrays frequency"):
        Cooccurrence.load(tmp_path / "other.npz")
