"""SparseCodes against plain dense arrays, on random matrices with empty rows, empty columns and no rows at all."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sae.codes import SparseCodes
from sae.errors import InsightError


@st.composite
def dense_codes(draw, fewest_rows=0, width=None):
    n, m = draw(st.integers(fewest_rows, 12)), width or draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    density = draw(st.floats(0, 1))
    values = torch.rand(n, m, generator=generator) + 0.01
    return values * (torch.rand(n, m, generator=generator) < density)


def same(codes: SparseCodes, dense: torch.Tensor) -> bool:
    return codes.n == len(dense) and codes.n_concepts == dense.shape[1] and torch.equal(codes.dense(), dense)


@given(dense_codes())
def test_dense_round_trip_keeps_every_entry_in_order(dense):
    codes = SparseCodes.from_dense(dense)
    assert same(codes, dense)
    assert codes.nnz == int((dense > 0).sum())
    keys = codes.rows() * codes.n_concepts + codes.concepts
    assert bool((keys.diff() > 0).all())


@given(dense_codes(), st.randoms())
def test_entries_may_come_in_any_order(dense, random):
    rows, concepts = dense.nonzero(as_tuple=True)
    order = list(range(len(rows)))
    random.shuffle(order)
    order = torch.tensor(order, dtype=torch.int64)
    rows, concepts = rows[order], concepts[order]
    assert same(SparseCodes.from_entries(rows, concepts, dense[rows, concepts], *dense.shape), dense)


@given(dense_codes(), st.data())
def test_rows_are_taken_by_slice_as_from_a_dense_array(dense, data):
    index = data.draw(st.slices(len(dense)))
    taken = torch.tensor(range(len(dense))[index], dtype=torch.int64)
    assert same(SparseCodes.from_dense(dense)[index], dense[taken])


@given(dense_codes(fewest_rows=1), st.data())
def test_rows_are_taken_by_index_with_repeats_and_from_the_end(dense, data):
    index = data.draw(st.lists(st.integers(-len(dense), len(dense) - 1)))
    index = torch.tensor(index, dtype=torch.int64)
    assert same(SparseCodes.from_dense(dense)[index], dense[index])


@given(dense_codes(), st.data())
def test_prefix_is_the_first_columns(dense, data):
    size = data.draw(st.integers(1, dense.shape[1]))
    assert same(SparseCodes.from_dense(dense).prefix(size), dense[:, :size])


@given(dense_codes(width=5), dense_codes(width=5))
def test_cat_puts_rows_one_after_the_other(first, second):
    joined = SparseCodes.cat([SparseCodes.from_dense(first), SparseCodes.from_dense(second)])
    assert same(joined, torch.cat([first, second]))


@given(dense_codes(), st.integers(1, 5), st.data())
def test_max_by_group_is_the_largest_activation_of_the_group(dense, n_groups, data):
    groups = data.draw(st.lists(st.integers(0, n_groups - 1), min_size=len(dense), max_size=len(dense)))
    expected = torch.zeros(n_groups, dense.shape[1])
    for row, group in enumerate(groups):
        expected[group] = torch.maximum(expected[group], dense[row])
    groups = torch.tensor(groups, dtype=torch.int64)
    assert same(SparseCodes.from_dense(dense).max_by_group(groups, n_groups), expected)


@given(dense_codes(), st.integers(1, 5), st.data())
def test_sum_by_group_is_the_sum_over_the_group(dense, n_groups, data):
    groups = data.draw(st.lists(st.integers(0, n_groups - 1), min_size=len(dense), max_size=len(dense)))
    groups = torch.tensor(groups, dtype=torch.int64)
    expected = torch.zeros(n_groups, dense.shape[1], dtype=torch.float64).index_add_(0, groups, dense.double())
    found = SparseCodes.from_dense(dense.double()).sum_by_group(groups, n_groups)
    assert torch.equal(found.dense() > 0, expected > 0)
    torch.testing.assert_close(found.dense(), expected, rtol=1e-12, atol=0)


@given(dense_codes())
def test_scipy_and_torch_hold_the_same_matrix(dense):
    codes = SparseCodes.from_dense(dense)
    assert (codes.to_scipy().toarray() == dense.numpy()).all()
    assert torch.equal(codes.to_torch().to_dense(), dense)


def test_conversions_share_memory():
    codes = SparseCodes.from_dense(torch.rand(50, 20) + 0.1)
    scipy_codes, torch_codes = codes.to_scipy(), codes.to_torch()
    assert scipy_codes.data.ctypes.data == codes.activations.data_ptr() == torch_codes.values().data_ptr()
    assert scipy_codes.indices.ctypes.data == codes.concepts.data_ptr() == torch_codes.col_indices().data_ptr()
    assert codes[10:20].activations.data_ptr() == codes.activations[200:].data_ptr()


@pytest.mark.parametrize(
    ("rows", "concepts", "activations", "reason"),
    [
        ([0, 2], [0, 1], [1.0, 1.0], "outside"),
        ([0, -1], [0, 1], [1.0, 1.0], "outside"),
        ([0, 1], [0, 3], [1.0, 1.0], "outside"),
        ([0, 1], [0, 1], [1.0, 0.0], "> 0"),
        ([0, 1], [0, 1], [1.0, float("nan")], "> 0"),
        ([1, 1], [2, 2], [1.0, 2.0], "twice"),
        ([0], [0, 1], [1.0, 1.0], "one length"),
    ],
)
def test_entries_that_are_no_codes_are_refused(rows, concepts, activations, reason):
    with pytest.raises(InsightError, match=reason):
        SparseCodes.from_entries(torch.tensor(rows), torch.tensor(concepts), torch.tensor(activations), 2, 3)


def test_other_misuse_is_refused():
    codes = SparseCodes.from_dense(torch.ones(3, 4))
    with pytest.raises(InsightError, match="negative"):
        SparseCodes.from_dense(-torch.ones(2, 2))
    with pytest.raises(InsightError, match="1 to 4"):
        codes.prefix(5)
    with pytest.raises(InsightError, match="widths"):
        SparseCodes.cat([codes, codes.prefix(2)])
    with pytest.raises(InsightError, match="int32"):
        SparseCodes(codes.offsets, codes.concepts.long(), codes.activations, 4)
    with pytest.raises(IndexError):
        codes[torch.tensor([3])]
    with pytest.raises(InsightError, match="groups of 0 to 1"):
        codes.max_by_group(torch.tensor([0, 1, 2]), 2)
