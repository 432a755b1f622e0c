"""BatchTopK and TopK keep exactly the largest; the threshold keeps exactly those above it."""

import pytest
import torch

import sae.preactivations
from sae.preactivations import Preactivations
from sae.selection import BatchTopK, TopK, above_threshold
from sae.weights import Weights


@pytest.fixture(autouse=True, params=[False, True], ids=["float32", "screen"])
def screened(request, monkeypatch):
    """Every statement holds whether bfloat16 is a screen or not."""
    monkeypatch.setattr(sae.preactivations, "multiplies_bfloat16_fast", lambda device: request.param)


def given(pre):
    """Pre-activations that are exactly these numbers."""
    m = pre.shape[1]
    return Preactivations(Weights(torch.eye(m), torch.eye(m), torch.zeros(m), torch.zeros(m)), pre)


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
    assert torch.equal(BatchTopK(k)(given(pre)).dense(), largest(pre, k))


@pytest.mark.parametrize("cut", [None, -3.0, 0.0, 1e-3, 0.5, 2.0, 1e9])
def test_the_carried_cut_never_changes_the_result(generator, cut):
    pre = torch.randn(200, 50, generator=generator)
    select = BatchTopK(5)
    select.cut = cut
    codes, fresh = select(given(pre)), BatchTopK(5)(given(pre))
    assert torch.equal(codes.dense(), largest(pre, 5))
    assert torch.equal(codes.concepts, fresh.concepts)
    assert select.cut == pytest.approx(0.97 * float(codes.activations.min()))


def test_batches_of_any_scale_may_follow_each_other(generator):
    select = BatchTopK(3)
    for scale in (1.0, 1e-4, 1e4, 0.0, 1.0):
        pre = scale * torch.randn(64, 40, generator=generator)
        assert torch.equal(select(given(pre)).dense(), largest(pre, 3))


def test_an_edge_that_keeps_falling_is_searched_once(generator):
    pre = torch.randn(500, 60, generator=generator)
    select, searches = BatchTopK(3), []
    for step in range(6):
        batch = given(0.95**step * pre)
        above, count = batch.above, []
        batch.above = lambda floor, above=above, count=count: count.append(1) or above(floor)
        assert torch.equal(select(batch).dense(), largest(0.95**step * pre, 3))
        searches.append(len(count))
    assert searches[1:] == [2, 1, 1, 1, 1]  # the first fall comes as a surprise


def test_of_equal_values_the_earlier_token_and_lower_concept_stay(generator):
    pre = torch.randint(-2, 3, (40, 30), generator=generator).float()
    for k in (1, 2, 5, 9):
        assert torch.equal(BatchTopK(k)(given(pre)).dense(), largest(pre, k))
    assert BatchTopK(2)(given(torch.ones(3, 4))).concepts.tolist() == [0, 1, 2, 3, 0, 1]


def test_fewer_positive_values_than_wanted_all_stay(generator):
    pre = torch.randn(50, 20, generator=generator) - 2.5
    assert int((pre > 0).sum()) < 10 * 50
    assert torch.equal(BatchTopK(10)(given(pre)).dense(), torch.relu(pre))
    assert BatchTopK(10)(given(-torch.ones(4, 20))).nnz == 0


def test_some_tokens_may_get_many_concepts_and_others_none():
    pre = torch.zeros(4, 8)
    pre[2] = torch.arange(1.0, 9.0)
    assert BatchTopK(2)(given(pre)).counts().tolist() == [0, 0, 8, 0]


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 2.0, 100.0])
def test_the_threshold_keeps_positive_values_above_it(generator, threshold):
    pre = torch.randn(70, 30, generator=generator)
    pre[0, :3] = 0.3
    assert torch.equal(
        above_threshold(given(pre), torch.tensor(threshold)).dense(), pre * ((pre > threshold) & (pre > 0))
    )


@pytest.mark.parametrize("per_concept", [False, True])
def test_each_concept_may_have_its_own_threshold(generator, per_concept):
    pre, threshold = torch.randn(70, 30, generator=generator), torch.randn(30, generator=generator)
    assert torch.equal(above_threshold(given(pre), threshold).dense(), pre * ((pre > threshold) & (pre > 0)))


def largest_of_each(pre, k):
    values, places = torch.topk(torch.relu(pre), min(k, pre.shape[1]), dim=1)
    return torch.zeros_like(pre).scatter(1, places, values)


@pytest.mark.parametrize("shape", [(1, 5), (1, 2000), (50, 7), (300, 64), (129, 1)])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_exactly_the_largest_of_each_token_stay(generator, shape, k):
    k = min(k, shape[1])
    pre = torch.randn(shape, generator=generator) * torch.randn(shape[0], 1, generator=generator).exp()
    select = TopK(k)
    assert torch.equal(select(given(pre)).dense(), largest_of_each(pre, k))


def test_top_k_of_tokens_with_few_positive_values(generator):
    pre = torch.randn(50, 20, generator=generator) - 2.0
    select = TopK(10)
    for _ in range(2):
        assert torch.equal(select(given(pre)).dense(), torch.relu(pre))
    assert TopK(3)(given(-torch.ones(4, 20))).nnz == 0
    assert TopK(2)(given(torch.ones(3, 4))).counts().tolist() == [2, 2, 2]


@pytest.mark.parametrize("select", [BatchTopK, TopK])
def test_the_choice_is_that_of_float32_on_real_products(generator, select):
    d, m, n, k = 64, 700, 150, 12
    weights = Weights(
        torch.randn(m, d, generator=generator), torch.zeros(m, d), torch.randn(m, generator=generator), torch.zeros(d)
    )
    rule = select(k)
    for _ in range(4):
        x = 3 * torch.randn(n, d, generator=generator) + 1
        u = x.double() @ weights.encoder.double().t() + weights.encoder_bias.double()
        expected = largest(u, k) if select is BatchTopK else largest_of_each(u, k)
        found = rule(Preactivations(weights, x)).dense().double()
        differ = (found > 0) != (expected > 0)
        edge = (
            expected[expected > 0].min()
            if select is BatchTopK
            else torch.where(expected > 0, expected, torch.inf).amin(1, keepdim=True)
        )
        assert (u - edge).abs()[differ].le(1e-4).all()  # ties aside
        torch.testing.assert_close(found[~differ], expected[~differ], rtol=1e-4, atol=1e-4)
