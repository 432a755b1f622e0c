"""BatchTopK keeps exactly the largest; the threshold keeps exactly those above it."""

import pytest
import torch

from sae.selection import BatchTopK, above_threshold


def largest(pre, k):
    """The k n largest positive entries, by a full sort: equal values in order of token, then concept."""
    flat = torch.relu(pre).reshape(-1)
    order = torch.sort(flat, descending=True, stable=True).indices[: k * len(pre)]
    kept = torch.zeros_like(flat)
    kept[order] = flat[order]
    return kept.view_as(pre)


@pytest.mark.parametrize("shape", [(1, 5), (1, 2000), (50, 7), (300, 64), (129, 1)])
@pytest.mark.parametrize("k", [1, 4])
def test_exactly_the_largest_stay(generator, shape, k):
    k = min(k, shape[1])
    pre = torch.randn(shape, generator=generator)
    assert torch.equal(BatchTopK(k)(pre).dense(), largest(pre, k))


@pytest.mark.parametrize("cut", [None, -3.0, 0.0, 1e-3, 0.5, 2.0, 1e9])
def test_the_carried_cut_never_changes_the_result(generator, cut):
    pre = torch.randn(200, 50, generator=generator)
    select = BatchTopK(5)
    select.cut = cut
    codes, fresh = select(pre), BatchTopK(5)(pre)
    assert torch.equal(codes.dense(), largest(pre, 5))
    assert torch.equal(codes.concepts, fresh.concepts)
    assert select.cut == pytest.approx(0.97 * float(codes.activations.min()))


def test_batches_of_any_scale_may_follow_each_other(generator):
    select = BatchTopK(3)
    for scale in (1.0, 1e-4, 1e4, 0.0, 1.0):
        pre = scale * torch.randn(64, 40, generator=generator)
        assert torch.equal(select(pre).dense(), largest(pre, 3))


def test_of_equal_values_the_earlier_token_and_lower_concept_stay(generator):
    pre = torch.randint(-2, 3, (40, 30), generator=generator).float()
    for k in (1, 2, 5, 9):
        assert torch.equal(BatchTopK(k)(pre).dense(), largest(pre, k))
    assert BatchTopK(2)(torch.ones(3, 4)).concepts.tolist() == [0, 1, 2, 3, 0, 1]


def test_fewer_positive_values_than_wanted_all_stay(generator):
    pre = torch.randn(50, 20, generator=generator) - 2.5
    assert int((pre > 0).sum()) < 10 * 50
    assert torch.equal(BatchTopK(10)(pre).dense(), torch.relu(pre))
    assert BatchTopK(10)(-torch.ones(4, 20)).nnz == 0


def test_some_tokens_may_get_many_concepts_and_others_none():
    pre = torch.zeros(4, 8)
    pre[2] = torch.arange(1.0, 9.0)
    assert BatchTopK(2)(pre).counts().tolist() == [0, 0, 8, 0]


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 2.0, 100.0])
def test_the_threshold_keeps_positive_values_above_it(generator, threshold):
    pre = torch.randn(70, 30, generator=generator)
    pre[0, :3] = 0.3
    assert torch.equal(above_threshold(pre, torch.tensor(threshold)).dense(), pre * ((pre > threshold) & (pre > 0)))
