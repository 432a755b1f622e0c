"""Every kernel, in every implementation that runs here, does what the dense float64 form does."""

import pytest
import torch

from sae import SparseCodes
from sae.kernels import Pattern, native, pytorch

IMPLEMENTATIONS = [
    pytest.param(pytorch, id="pytorch"),
    pytest.param(
        native, id="native", marks=pytest.mark.skipif(not native.is_built(), reason="no C compiler was there")
    ),
]
kernels = pytest.mark.parametrize("kernels", IMPLEMENTATIONS)
shapes = pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (3, 70, 5), (37, 33, 64), (130, 257, 100), (64, 40, 513)])


def random_codes(generator, n, m, share=0.2):
    """Random positive entries with empty rows, empty columns and one full column."""
    dense = torch.rand(n, m, generator=generator) * (torch.rand(n, m, generator=generator) < share)
    dense[:, m // 2] = torch.rand(n, generator=generator) + 0.1
    dense[n // 3], dense[:, m // 4] = 0, 0
    return SparseCodes.from_dense(dense)


def pattern(codes):
    return Pattern(codes.offsets, codes.concepts, codes.n_concepts)


@kernels
@shapes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_above_finds_the_scores_above_their_floor(kernels, n, m, d, dtype, generator):
    scores = torch.randn(n, m, generator=generator).to(dtype)
    rows, columns = torch.randn(n, generator=generator), torch.randn(m, generator=generator)
    places, values = kernels.above(scores, rows, columns)
    expected = scores.float() > rows.unsqueeze(1) + columns
    assert torch.equal(places.offsets.diff(), expected.sum(1))
    assert torch.equal(places.columns.long(), expected.nonzero()[:, 1])
    assert torch.equal(values, scores.float()[expected])


@kernels
@shapes
def test_add_product_adds_the_dense_product(kernels, n, m, d, generator):
    codes, dense = random_codes(generator, n, m), torch.randn(m, d, generator=generator)
    out = torch.randn(n, d, generator=generator)
    expected = out.double() + codes.dense().double() @ dense.double()
    kernels.add_product(pattern(codes), codes.activations, dense, out)
    assert torch.allclose(out.double(), expected, atol=1e-5)


@kernels
@shapes
def test_sampled_gives_the_inner_products_of_the_entries(kernels, n, m, d, generator):
    codes = random_codes(generator, n, m)
    left, right = torch.randn(n, d, generator=generator), torch.randn(m, d, generator=generator)
    expected = (left.double() @ right.double().t())[codes.rows(), codes.concepts.long()]
    assert torch.allclose(kernels.sampled(pattern(codes), left, right).double(), expected, atol=1e-4)


@kernels
@pytest.mark.parametrize(("nnz", "m"), [(0, 3), (1, 1), (500, 40), (40, 500)])
def test_by_column_is_a_stable_sort(kernels, nnz, m, generator):
    columns = torch.randint(0, m, (nnz,), generator=generator, dtype=torch.int32)
    offsets, order = kernels.by_column(columns, m)
    assert order.tolist() == sorted(range(nnz), key=columns.tolist().__getitem__)
    assert torch.equal(offsets.diff(), torch.bincount(columns, minlength=m))
    assert int(offsets[0]) == 0


@kernels
@shapes
def test_rounded_gives_bfloat16_and_what_it_took(kernels, n, m, d, generator):
    x = torch.randn(n, d, generator=generator) * torch.randn(n, d, generator=generator).exp()
    x[0, 0] = 1 + 2**-8  # halfway between two: to the even one
    low, norms, lost = kernels.rounded(x)
    assert torch.equal(low, x.bfloat16())
    torch.testing.assert_close(norms.double(), x.double().norm(dim=1), rtol=1e-5, atol=0)
    torch.testing.assert_close(lost.double(), (x.double() - x.bfloat16().double()).norm(dim=1), rtol=1e-5, atol=0)


@kernels
@pytest.mark.parametrize(("n", "c", "k"), [(1, 1, 1), (5, 40, 7), (64, 333, 100), (9, 20, 20), (9, 20, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keep_largest_keeps_k_of_each_row(kernels, n, c, k, dtype, generator):
    x = (torch.rand(n, c, generator=generator) * (torch.rand(n, c, generator=generator) < 0.7)).to(dtype)
    before, edge = x.clone(), torch.topk(x, min(k, c), dim=1).values[:, -1:]
    kernels.keep_largest(x, k)
    assert torch.equal(x[before > edge], before[before > edge])
    assert ((x == before) | (x == 0)).all()
    assert torch.equal((x > 0).sum(1), (before > 0).sum(1).clamp_max(k))
    assert not x[before < edge].any()


@kernels
@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 1), (50, 300, 7), (40, 1000, 100), (30, 20, 20), (9, 33, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rounding", [0.0, 0.01])
def test_at_least_k_reach_the_floor_and_few_more(kernels, n, m, k, dtype, rounding, generator):
    scores = (torch.randn(n, m, generator=generator) * torch.randn(n, 1, generator=generator).exp()).to(dtype)
    columns = 0.3 * torch.randn(m, generator=generator)
    least = scores.float() - rounding * scores.float().abs() + columns
    found = kernels.floors(scores, columns, k, rounding)
    reached, positive = (least >= found.unsqueeze(1)).sum(1), (least > 0).sum(1)
    assert torch.equal(found > 0, positive >= k)
    assert (reached[found > 0] >= k).all()
    assert (reached[found > 0] <= max(k + 1, 1.3 * k)).all()


@kernels
def test_the_floor_of_equals_is_reached(kernels):
    scores = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.5], [3.0, 3.0, 3.0, 3.0, 3.0], [-1.0, 0.0, 1e-30, 2e-30, -5.0]])
    assert kernels.floors(scores, torch.zeros(5), 2, 0.0).tolist() == pytest.approx([2.0, 3.0, 1e-30], rel=0.1)


@kernels
def test_keep_largest_of_equals_keeps_k(kernels):
    x = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.5], [3.0, 3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 1e-40, 0.0, 0.0]])
    kernels.keep_largest(x, 2)
    assert (x > 0).sum(1).tolist() == [2, 2, 1]
    assert x.sum(1).tolist() == pytest.approx([4.0, 6.0, 1e-40])


@kernels
@shapes
@pytest.mark.parametrize("n_levels", [1, 4])
def test_nested_is_the_dense_form(kernels, n, m, d, n_levels, generator):
    codes = random_codes(generator, n, m)
    levels = (codes.concepts.long() * n_levels // m).to(torch.uint8)
    decoder, centred = torch.randn(m, d, generator=generator), torch.randn(n, d, generator=generator)
    weights, upstream = torch.rand(n_levels, generator=generator) + 0.1, torch.empty(n_levels, n, d)
    found = kernels.nested(pattern(codes), levels, codes.activations, decoder, centred, weights, upstream)

    level_of_concept = torch.arange(m) * n_levels // m
    activations = codes.dense().double().requires_grad_()
    errors = [
        (activations * (level_of_concept <= level)) @ decoder.double() - centred.double() for level in range(n_levels)
    ]
    half = sum(weight.double() * error.square().sum() / 2 for weight, error in zip(weights, errors))
    (gradient,) = torch.autograd.grad(half, activations)
    assert torch.allclose(found.squares.double(), torch.stack([e.square().sum() for e in errors]), rtol=1e-5)
    assert torch.allclose(found.sums.double(), torch.stack([e.sum(0) for e in errors]), atol=1e-3)
    later = [sum(w.double() * e for w, e in zip(weights[at:], errors[at:])) for at in range(n_levels)]
    assert torch.allclose(found.upstream.double(), torch.stack(later), atol=1e-4)
    assert torch.allclose(found.slopes.double(), gradient[codes.rows(), codes.concepts.long()], atol=1e-3)


@kernels
def test_nothing_active_is_no_special_case(kernels):
    none = Pattern(torch.zeros(4, dtype=torch.int64), torch.zeros(0, dtype=torch.int32), 5)
    values, left, right = torch.zeros(0), torch.ones(3, 2), torch.ones(5, 2)
    out = torch.ones(3, 2)
    kernels.add_product(none, values, right, out)
    assert torch.equal(out, torch.ones(3, 2))
    assert kernels.sampled(none, left, right).shape == (0,)
    levels = torch.zeros(0, dtype=torch.uint8)
    found = kernels.nested(none, levels, values, right, left, torch.ones(1), torch.empty(1, 3, 2))
    assert torch.equal(found.upstream[0], -left)
    places, _ = kernels.above(torch.zeros(2, 3), torch.ones(2), torch.ones(3))
    assert places.offsets.tolist() == [0, 0, 0]
