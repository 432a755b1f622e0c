"""Selection by Triton kernels, and BatchTopK through a screen, against dense forms (see test_kernels_cuda.py)."""

import pytest
import torch

from sae import preactivations
from sae.kernels import Pattern
from sae.weights import Weights

from .cuda_kernels import DEVICE, INTERPRETED, TYPES, close, normal, on_device, pass_interpreted, pattern_of

if not INTERPRETED:

    @pytest.mark.slow
    def test_selection_agrees_with_its_dense_form_through_the_interpreter():
        pass_interpreted(__file__)


@pytest.fixture
def cuda():
    pytest.importorskip("triton")
    from sae.kernels import cuda

    return cuda


@on_device
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # inf - inf, in the interpreter
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("n", "m"), [(5, 300), (1, 1), (3, 4500), (7, 256)])
def test_above_finds_the_entries_over_the_sum_of_two_bounds_in_order(cuda, generator, n, m, dtype):
    scores = normal(generator, n, m, dtype=dtype)
    rows, columns = normal(generator, n) + 1.5, normal(generator, m)
    rows[n // 2] = torch.inf if n > 1 else -torch.inf
    columns[m // 2] = -torch.inf
    bound = rows.unsqueeze(1) + columns
    scores[0, 0], rows[0], columns[0] = 0.5, 0.25, 0.25  # equal is not above
    mask = scores.float() > rows.unsqueeze(1) + columns
    assert bound.isnan().any() == (n > 1)
    pattern, values = cuda.above(scores, rows, columns)
    expected = pattern_of(mask.cpu())
    assert pattern.offsets.dtype == torch.int64
    assert pattern.columns.dtype == torch.int32
    assert pattern.n_columns == m
    assert torch.equal(pattern.offsets, expected.offsets)
    assert torch.equal(pattern.columns, expected.columns)
    assert torch.equal(values, scores[mask].float())


@on_device
@pytest.mark.parametrize("capacity", [1, 40, 4000])
def test_above_within_fills_what_fits_and_tells_how_many_there_are(cuda, generator, capacity):
    scores = normal(generator, 6, 700)
    rows, columns = torch.full((6,), 1.0, device=DEVICE), normal(generator, 700)
    expected = (scores > rows.unsqueeze(1) + columns).view(-1).nonzero().squeeze(1)
    positions, values, count = cuda.above_within(scores, rows, columns, capacity)
    held = min(capacity, len(expected))
    assert 40 < len(expected) < 4000
    assert int(count) == len(expected)
    assert torch.equal(positions[:held], expected[:held])
    assert torch.equal(values[:held], scores.view(-1)[expected[:held]])
    assert bool((positions[held:] == -1).all())
    assert bool((values[held:] == -torch.inf).all())


@on_device
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("n", "c", "k"), [(7, 61, 5), (3, 5000, 100), (2, 9, 1), (4, 6, 6), (1, 33, 32), (3, 8, 20)])
def test_keep_largest_keeps_the_k_largest_of_each_row(cuda, generator, n, c, k, dtype):
    x = normal(generator, n, c, dtype=dtype).relu_()
    x[0] = 0
    edge = torch.topk(x, min(k, c), dim=1).values[:, -1:]
    before = x.clone()
    cuda.keep_largest(x, k)
    assert bool(((x == before) | (x == 0)).all())
    assert bool((x[before > edge] > 0).all())
    assert bool((x[before < edge] == 0).all())
    assert torch.equal((x > 0).sum(1), (before > 0).sum(1).clamp_max(k))


@on_device
def test_keep_largest_keeps_the_first_of_equals(cuda):
    x = torch.tensor([[1.0, 3.0, 2.0, 3.0, 3.0, 2.0, 4.0], [5.0] * 7, [0.0, 1e-40, 0.0, 2e-40, 0.0, 3e38, torch.inf]])
    x = x.to(DEVICE)
    cuda.keep_largest(x, 3)
    expected = [[0, 3.0, 0, 3.0, 0, 0, 4.0], [5.0, 5.0, 5.0, 0, 0, 0, 0], [0, 0, 0, 2e-40, 0, 3e38, torch.inf]]
    assert torch.equal(x.cpu(), torch.tensor(expected))
    held = torch.arange(12.0, device=DEVICE).view(4, 3)
    cuda.keep_largest(held.t()[1:], 2)
    assert held.cpu().tolist() == [[0, 0, 0], [3, 0, 0], [6, 7, 8], [9, 10, 11]]
    wide = torch.ones(2, 9000, device=DEVICE)
    cuda.keep_largest(wide, 5000)
    assert bool((wide[:, :5000] == 1).all())
    assert bool((wide[:, 5000:] == 0).all())


def batch(generator, n=14, m=300, d=40):
    x, w = normal(generator, n, d), torch.nn.functional.normalize(normal(generator, m, d))
    return x, w, 0.1 * normal(generator, m)


def screened(generator, x, w, radius, dtype):
    """Scores of a screen that is as wrong as it may be: off by up to the radius of each token, then rounded."""
    noise = torch.rand(len(x), len(w), generator=generator).mul_(2).sub_(1).to(DEVICE)
    return (x.double() @ w.double().t() + radius.unsqueeze(1) * noise).to(dtype)


def entries(found, m):
    """Flat positions of the codes found."""
    n = len(found.offsets) - 1
    return torch.repeat_interleave(torch.arange(n, device=DEVICE), found.offsets.diff()) * m + found.concepts


def is_the_selection(found, dense, wanted):
    """The codes are the `wanted` largest of dense [n, m] (of values closer than rounding, any), in order."""
    chosen, flat, edge = entries(found, dense.shape[1]), dense.view(-1), torch.topk(dense.view(-1), wanted).values[-1]
    assert len(chosen) == wanted
    assert bool((chosen.diff() > 0).all())
    assert bool((flat[chosen] > edge - 1e-5).all())
    assert int((flat[chosen] > edge + 1e-5).sum()) == int((flat > edge + 1e-5).sum())
    close(found.activations, flat[chosen].cpu())


def screen_of(monkeypatch, x, w):
    """The engine's own screen of products of x [n, d] and w [m, d]."""
    monkeypatch.setattr(preactivations, "multiplies_bfloat16_fast", lambda device: True)
    weights = Weights(w, w, w.new_zeros(len(w)), w.new_zeros(w.shape[1]))
    return preactivations.Preactivations(weights, x).screen()


@on_device
def test_no_score_is_further_off_than_the_radius_and_its_own_rounding(monkeypatch, generator):
    x, w, _ = batch(generator)
    x[0], w[0] = 0, 100 * w[0]
    scores, radius = screen_of(monkeypatch, x, w)
    assert scores.dtype == torch.bfloat16
    stored = 2**-8 * scores.double().abs()
    off = ((scores.double() - x.double() @ w.double().t()).abs() - stored).amax(1)
    assert bool((off <= radius).all())
    assert bool((radius <= 4 * torch.finfo(torch.bfloat16).eps * 100 * x.norm(dim=1)).all())


@on_device
@pytest.mark.parametrize("rounded", ["x", "w"])
def test_the_radius_covers_what_rounding_takes_from_either_side(monkeypatch, generator, rounded):
    fine, one = 1 + torch.rand(50, 1, generator=generator).to(DEVICE), torch.ones(50, 1, device=DEVICE)
    x, w = (fine, one) if rounded == "x" else (one, fine)
    scores, radius = screen_of(monkeypatch, x, w)
    off = (scores.double() - x.double() @ w.double().t()).abs().amax(1)  # of one rounded factor: stored as it is
    assert bool((off > 0).any())
    assert bool((off <= radius).all())
    assert bool((radius <= 1.02 * off + 1e-5).all())  # one number a row: nothing is lost in the estimate


@on_device
def test_largest_finds_entries_whose_score_is_rounded_below_the_cut(cuda):
    w = 1 + torch.arange(300, device=DEVICE).view(-1, 1) / 4096
    x, radius, bias = torch.ones(1, 1, device=DEVICE), torch.zeros(1, device=DEVICE), torch.zeros(300, device=DEVICE)
    scores, cut = (x @ w.t()).bfloat16(), w[200, 0] - 1e-6
    assert int((scores > cut).sum()) < 100
    found = cuda.largest(scores, radius, x, w, bias, 100, cut, 300)
    assert bool(found.exact)
    assert found.concepts.tolist() == list(range(200, 300))


@on_device
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.9, 0.9999], ids=lambda share: f"cut at {share} of the edge")
def test_largest_is_the_exact_selection_whatever_the_screen_and_the_cut(cuda, generator, dtype, share):
    x, w, bias = batch(generator)
    radius = 0.3 * torch.rand(len(x), generator=generator).to(DEVICE)
    wanted, dense = 6 * len(x), x.double() @ w.double().t() + bias
    edge = torch.topk(dense.view(-1), wanted).values[-1].float()
    scores = screened(generator, x, w, radius, dtype)
    found = cuda.largest(scores, radius, x, w, bias, wanted, share * edge, dense.numel())
    assert bool(found.exact)
    is_the_selection(found, dense, wanted)
    assert 0.9 * edge < found.cut < edge


@on_device
@pytest.mark.parametrize("start", [30.0, 0.0])
def test_largest_says_when_it_is_not_certain_and_finds_its_way_back(cuda, generator, start):
    x, w, bias = batch(generator)
    radius, wanted = torch.full((len(x),), 0.02, device=DEVICE), 4 * len(x)
    scores = screened(generator, x, w, radius, torch.bfloat16)
    found = cuda.largest(scores, radius, x, w, bias, wanted, torch.tensor(start, device=DEVICE), 3 * wanted)
    assert not bool(found.exact)
    tries = 0
    while not bool(found.exact) and tries < 40:
        found, tries = cuda.largest(scores, radius, x, w, bias, wanted, found.cut, 3 * wanted), tries + 1
    assert bool(found.exact)
    is_the_selection(found, x.double() @ w.double().t() + bias, wanted)


@on_device
def test_the_estimated_cut_serves_the_first_batch(cuda, generator):
    x, w, bias = batch(generator, n=128)
    radius, wanted = torch.full((len(x),), 0.02, device=DEVICE), 2 * len(x)
    scores = screened(generator, x, w, radius, torch.bfloat16)
    cut = cuda.estimated_cut(scores, bias, wanted)
    assert bool(cuda.largest(scores, radius, x, w, bias, wanted, cut, 4 * wanted).exact)


@on_device
def test_largest_pads_with_zeros_where_too_few_are_positive(cuda, generator):
    x, w, bias = batch(generator, n=5, m=60)
    dense = x @ w.t() - 1.5
    positive = dense > 0
    wanted = int(positive.sum()) + 7
    found = cuda.largest(
        x @ w.t(), torch.full((5,), 1e-5, device=DEVICE), x, w, torch.full_like(bias, -1.5), wanted,
        torch.tensor(0.0, device=DEVICE), 300,
    )  # fmt: skip
    assert bool(found.exact)
    assert int(found.offsets[-1]) == wanted == len(found.concepts)
    assert int((found.activations > 0).sum()) == wanted - 7
    codes = torch.zeros(5, 60, device=DEVICE)
    codes.view(-1).index_add_(0, entries(found, 60), found.activations)
    close(codes, dense.double().cpu().relu())


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no CUDA device")
def test_nothing_but_above_waits_for_the_device(cuda, generator):
    x, w, bias = batch(generator)
    scores, cut, wanted = x @ w.t(), torch.tensor(1.0, device=DEVICE), 5 * len(x)
    levels, weights = torch.zeros(wanted, dtype=torch.uint8, device=DEVICE), torch.ones(2, device=DEVICE)
    upstream = x.new_empty(2, *x.shape)

    def work():
        radius = cuda.rounded(x)[2]
        estimate = cuda.estimated_cut(scores, bias, wanted)
        found = cuda.largest(scores, radius, x, w, bias, wanted, torch.minimum(cut, estimate), 3 * wanted)
        pattern = Pattern(found.offsets, found.concepts, len(w))
        cuda.nested(pattern, levels, found.activations, w, x, weights, upstream)
        cuda.sampled(pattern, x, w)
        cuda.add_product(pattern, found.activations, w, torch.zeros_like(x))
        cuda.keep_largest(scores.relu(), 7)

    work()  # kernels are compiled as they are first called
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
