"""The Triton kernels against dense float64 forms, on fresh random inputs of odd sizes.

Without a GPU they run through Triton's interpreter, which has to be chosen before triton is imported: one test runs
this file again in a process of its own, where every other test here is collected too. `pytest -m gpu` runs the same
tests on a CUDA device.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from sae.kernels import Pattern

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
TYPES = [torch.float32, torch.bfloat16, torch.float16]

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def on_device(test):
    """A test of kernels: of every run where they are interpreted, else of `pytest -m gpu`."""
    if INTERPRETED:
        return test
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")(test))


if not INTERPRETED:

    @needs_triton
    def test_every_kernel_agrees_with_its_dense_form_through_the_interpreter():
        command = [sys.executable, "-m", "pytest", __file__, "-p", "no:cacheprovider", "-x"]
        run = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]

    def test_triton_is_not_imported_with_the_package():
        program = "import sys, sae, sae.kernels, sae.trainer; sys.exit('triton' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.fixture
def cuda():
    pytest.importorskip("triton")
    from sae.kernels import cuda

    return cuda


def normal(generator, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=generator).to(dtype).to(DEVICE)


def some(generator, n, m, density=0.2):
    """bool [n, m] on the CPU, with an empty row, a full row and an empty column where there is room."""
    mask = torch.rand(n, m, generator=generator) < density
    mask[n // 2] = False
    mask[-1] = True
    mask[:, m // 3] &= n == 1
    return mask


def pattern_of(mask):
    counts = mask.sum(1)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Pattern(offsets.to(DEVICE), mask.nonzero()[:, 1].to(torch.int32).to(DEVICE), mask.shape[1])


def scattered(mask, values):
    """float64 [n, m] on the CPU: values at the places of the mask."""
    dense = torch.zeros(mask.shape, dtype=torch.float64)
    dense[mask] = values.double().cpu()
    return dense


def close(found, expected, tolerance=2e-5):
    """Within `tolerance` of the largest expected size."""
    assert found.shape == expected.shape
    scale = float(expected.abs().max()) if expected.numel() else 1.0
    assert found.numel() == 0 or float((found.double().cpu() - expected).abs().max()) <= tolerance * (scale or 1.0)


@on_device
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("n", "m", "d"), [(13, 29, 37), (1, 5, 1), (6, 11, 600), (9, 7, 2100)])
def test_sampled_gives_the_inner_products_of_the_entries(cuda, generator, n, m, d, dtype):
    mask = some(generator, n, m)
    left, right = normal(generator, n, d, dtype=dtype), normal(generator, m, d, dtype=dtype)
    products = cuda.sampled(pattern_of(mask), left, right)
    assert products.dtype == torch.float32
    close(products, (left.double() @ right.double().t()).cpu()[mask])


@on_device
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("n", "m", "d"), [(13, 29, 37), (1, 5, 1), (5, 11, 600), (4, 7, 2100)])
def test_add_product_adds_the_sparse_times_the_dense_matrix(cuda, generator, n, m, d, dtype):
    mask = some(generator, n, m)
    values, dense = normal(generator, int(mask.sum())), normal(generator, m, d, dtype=dtype)
    out = normal(generator, n, d)
    expected = out.double().cpu() + scattered(mask, values) @ dense.double().cpu()
    cuda.add_product(pattern_of(mask), values, dense, out)
    close(out, expected)


@on_device
def test_add_product_shares_long_rows_out_and_stays_the_same_to_the_byte(cuda, generator):
    n, m, d = 6, 1100, 20
    mask = torch.rand(n, m, generator=generator) < torch.tensor([0.0, 1.0, 0.01, 0.7, 0.2, 1.0]).unsqueeze(1)
    mask[4, :], mask[4, :257] = False, True  # one entry more than a segment
    values, dense, start = normal(generator, int(mask.sum())), normal(generator, m, d), normal(generator, n, d)
    out, again = start.clone(), start.clone()
    cuda.add_product(pattern_of(mask), values, dense, out)
    cuda.add_product(pattern_of(mask), values, dense, again)
    close(out, start.double().cpu() + scattered(mask, values) @ dense.double().cpu())
    assert torch.equal(out, again)
    assert torch.equal(out[0], start[0])


@on_device
def test_add_product_fills_a_column_of_a_wider_array(cuda, generator):
    mask = some(generator, 9, 14)
    values, held = normal(generator, int(mask.sum())), normal(generator, 9, 3)
    expected = held.double().cpu()
    expected[:, 1] += scattered(mask, values).sum(1)
    cuda.add_product(pattern_of(mask), values, torch.ones(14, 1, device=DEVICE), held[:, 1:2])
    close(held, expected)


@on_device
@pytest.mark.parametrize("n", [0, 4])
def test_patterns_without_entries_give_nothing(cuda, n):
    pattern = Pattern(torch.zeros(n + 1, dtype=torch.int64, device=DEVICE), torch.empty(0, device=DEVICE).int(), 5)
    left, right, out = torch.ones(n, 3, device=DEVICE), torch.ones(5, 3, device=DEVICE), torch.ones(n, 3, device=DEVICE)
    assert len(cuda.sampled(pattern, left, right)) == 0
    cuda.add_product(pattern, torch.empty(0, device=DEVICE), right, out)
    assert torch.equal(out, left)
    found, values = cuda.above(torch.zeros(n, 5, device=DEVICE), left[:, 0], right[:, 0])
    assert torch.equal(found.offsets, pattern.offsets)
    assert len(found.columns) == len(values) == 0


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
@pytest.mark.parametrize(("n", "d"), [(7, 45), (1, 1), (3, 1300), (0, 4)])
def test_rounded_gives_bfloat16_rows_their_norms_and_what_was_lost(cuda, generator, n, d):
    x = normal(generator, n, d)
    low, norms, lost = cuda.rounded(x)
    assert low.dtype == torch.bfloat16
    if INTERPRETED:  # which cuts bits off where a GPU rounds
        assert bool(((low.float() - x).abs() <= 2**-7 * x.abs()).all())
    else:
        assert torch.equal(low, x.bfloat16())
    close(norms, x.double().norm(dim=1).cpu())
    close(lost, (x.double() - low.double()).norm(dim=1).cpu())


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


def nested_reference(mask, level, activations, decoder, centred, weights):
    """Squares, sums, upstream and slopes in float64; `level` uint8 [nnz]."""
    decoder, centred, weights = decoder.double().cpu(), centred.double().cpu(), weights.double().cpu()
    level, rows, columns = level.cpu(), *mask.nonzero(as_tuple=True)
    errors = []
    for last in range(len(weights)):
        held = torch.where(level <= last, activations.double().cpu(), 0.0)
        errors.append(scattered(mask, held) @ decoder - centred)
    errors = torch.stack(errors)
    upstream = (weights.view(-1, 1, 1) * errors).flip(0).cumsum(0).flip(0)
    slopes = (upstream[level.long(), rows] * decoder[columns]).sum(1)
    return errors.square().sum((1, 2)), errors.sum(1), upstream, slopes


@on_device
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(
    ("n", "m", "d", "n_levels"), [(11, 40, 37, 5), (1, 3, 1, 1), (9, 50, 700, 3), (3, 12, 2100, 2)]
)
def test_nested_gives_every_levels_errors_and_gradients(cuda, generator, n, m, d, n_levels, dtype):
    mask = some(generator, n, m)
    nnz = int(mask.sum())
    activations = normal(generator, nnz).abs()
    decoder, centred = normal(generator, m, d, dtype=dtype), normal(generator, n, d, dtype=dtype)
    weights = torch.rand(n_levels, generator=generator).to(DEVICE)
    # Levels that rise along each row as they please, not by concept; some levels of some tokens are empty.
    level = torch.randint(n_levels, (nnz,), generator=generator)
    level = (mask.nonzero()[:, 0] * n_levels + level).sort().values % n_levels
    upstream = torch.full((n_levels, n, d), torch.nan, device=DEVICE)
    found = cuda.nested(
        pattern_of(mask), level.to(torch.uint8).to(DEVICE), activations, decoder, centred, weights, upstream
    )
    assert found.upstream.data_ptr() == upstream.data_ptr()
    for ours, expected in zip(found, nested_reference(mask, level, activations, decoder, centred, weights)):
        close(ours, expected)


@on_device
def test_nested_holds_for_more_levels_than_usual(cuda, generator):
    n, m, d, n_levels = 3, 60, 9, 33
    mask = some(generator, n, m)
    level = (torch.arange(m) * n_levels // m).expand(n, m)[mask]
    activations, weights = normal(generator, int(mask.sum())), normal(generator, n_levels)
    decoder, centred = normal(generator, m, d), normal(generator, n, d)
    upstream = torch.empty(n_levels, n, d, device=DEVICE)
    found = cuda.nested(
        pattern_of(mask), level.to(torch.uint8).to(DEVICE), activations, decoder, centred, weights, upstream
    )
    for ours, expected in zip(found, nested_reference(mask, level, activations, decoder, centred, weights)):
        close(ours, expected)


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


@on_device
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_no_score_is_further_off_than_the_radius(cuda, generator, dtype):
    x, w, _ = batch(generator)
    x[0], w[0] = 0, 100 * w[0]
    x_low, w_low = x.to(dtype), w.to(dtype)
    low = x_low.float() @ w_low.float().t()
    radius = cuda.screen_radius(x, x_low, w, w_low)
    off = (low.double() - x.double() @ w.double().t()).abs().amax(1)
    assert bool((off <= radius).all())
    if dtype != torch.float32:
        assert bool((radius <= 2 * torch.finfo(dtype).eps * 100 * x.norm(dim=1)).all())


@on_device
@pytest.mark.parametrize("rounded", ["x", "w"])
def test_the_radius_covers_what_rounding_takes_from_either_side(cuda, generator, rounded):
    fine = 1 + torch.rand(50, 1, generator=generator).to(DEVICE)
    x, w = (fine, torch.ones_like(fine)) if rounded == "x" else (torch.ones_like(fine), fine)
    x_low, w_low = x.bfloat16(), w.bfloat16()
    off = (x_low.double() @ w_low.double().t() - x.double() @ w.double().t()).abs().amax(1)
    radius = cuda.screen_radius(x, x_low, w, w_low)
    assert bool((off > 0).any())
    assert bool((off <= radius).all())
    assert bool((radius <= 1.001 * off + 1e-5).all())  # one number a row: nothing is lost in the estimate


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
    assert wanted < int(found.shortlisted) < dense.numel()


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


@on_device
def test_a_fused_step_is_projection_clipping_adam_and_unit_rows(cuda, generator):
    m, d, step_size, most = 7, 45, 3e-3, 0.5
    rows = torch.nn.functional.normalize(normal(generator, m, d))
    plain = normal(generator, 2100)
    state = [torch.zeros_like(rows), torch.zeros_like(rows), torch.zeros_like(plain), torch.zeros_like(plain)]
    theirs = [rows.double().requires_grad_(), plain.double().requires_grad_()]
    adam = torch.optim.Adam(theirs, lr=step_size)
    for number in range(1, 4):
        gradients = normal(generator, m, d), normal(generator, 2100)
        with torch.no_grad():
            across = gradients[0].double() - (gradients[0].double() * theirs[0]).sum(1, keepdim=True) * theirs[0]
            theirs[0].grad, theirs[1].grad = across, gradients[1].double()
            norm = torch.nn.utils.clip_grad_norm_(theirs, most)
            adam.step()
            theirs[0].div_(theirs[0].norm(dim=1, keepdim=True))
        along, squares = cuda.across(gradients[0], rows)
        total = (squares.sum() + gradients[1].square().sum()).sqrt()
        close(total.view(1), norm.cpu().view(1))
        factor = (most / (total + 1e-6)).clamp_max(1.0)
        step = cuda.Step(step_size, number)
        cuda.adam_rows(rows, gradients[0], state[0], state[1], along, factor, step)
        cuda.adam(plain, gradients[1], state[2], state[3], factor, step)
    close(rows, theirs[0].detach().cpu())
    close(plain, theirs[1].detach().cpu())
    for ours, key, theirs_of in zip(state, ["exp_avg", "exp_avg_sq"] * 2, [theirs[0]] * 2 + [theirs[1]] * 2):
        close(ours, adam.state[theirs_of][key].cpu())


def trained(device, screened, dead, monkeypatch):
    """Losses of two steps on seeded data, and the last gradients."""
    from sae import preactivations
    from sae.config import SaeConfig, TrainConfig
    from sae.learner import Learner

    monkeypatch.setattr(preactivations, "multiplies_bfloat16_fast", lambda device: screened)
    draw = torch.Generator().manual_seed(5)
    batches = [torch.randn(9, 10, generator=draw).to(device) for _ in range(3)]
    config = SaeConfig(dim=10, n_concepts=36, k=3, fractions=(0.25, 0.25, 0.5))
    learner = Learner.start(config, TrainConfig(steps=50), batches[0])
    learner.silent_tokens[:dead] = 10**12
    losses = torch.stack([learner.step(batch).loss for batch in batches[1:]])
    return torch.cat([losses, *(gradient.flatten() for gradient in learner.gradients)]).double().cpu()


@on_device
@pytest.mark.parametrize(("screened", "dead"), [(False, 12), (True, 0)])
def test_training_with_these_kernels_is_training_on_the_cpu(cuda, monkeypatch, screened, dead):
    expected = trained("cpu", screened=False, dead=dead, monkeypatch=monkeypatch)
    if INTERPRETED:
        monkeypatch.setattr("sae.kernels._implementation", lambda tensor, *types: cuda)
    close(trained(DEVICE, screened, dead, monkeypatch), expected, tolerance=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no CUDA device")
def test_nothing_but_above_waits_for_the_device(cuda, generator):
    x, w, bias = batch(generator)
    scores, cut, wanted = x @ w.t(), torch.tensor(1.0, device=DEVICE), 5 * len(x)
    levels, weights = torch.zeros(wanted, dtype=torch.uint8, device=DEVICE), torch.ones(2, device=DEVICE)
    upstream, moments, step = x.new_empty(2, *x.shape), [torch.zeros_like(w), torch.zeros_like(w)], cuda.Step(1e-3, 1)

    def work():
        radius = cuda.screen_radius(x, cuda.rounded(x)[0], w, cuda.rounded(w)[0])
        estimate = cuda.estimated_cut(scores, bias, wanted)
        found = cuda.largest(scores, radius, x, w, bias, wanted, torch.minimum(cut, estimate), 3 * wanted)
        pattern = Pattern(found.offsets, found.concepts, len(w))
        cuda.nested(pattern, levels, found.activations, w, x, weights, upstream)
        cuda.sampled(pattern, x, w)
        cuda.add_product(pattern, found.activations, w, torch.zeros_like(x))
        cuda.keep_largest(scores.relu(), 7)
        along, squares = cuda.across(w, w)
        cuda.adam_rows(w, w.clone(), *moments, along, squares.sum().rsqrt(), step)
        cuda.adam(bias, bias.clone(), torch.zeros_like(bias), torch.zeros_like(bias), cut, step)

    work()  # kernels are compiled as they are first called
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no CUDA device")
def test_places_beyond_two_to_the_31_are_reached(cuda):
    n, m = 40_000, 65_536  # 5 GB
    scores = torch.zeros(n, m, dtype=torch.bfloat16, device=DEVICE)
    scores[-1, -1] = scores[0, 7] = 2
    positions, _, found = cuda.above_within(scores, scores.new_ones(n).float(), scores.new_zeros(m).float(), 3)
    assert int(found) == 2
    assert positions.tolist() == [7, n * m - 1, -1]
    offsets, columns = torch.tensor([0, 1], device=DEVICE), torch.tensor([n - 1], dtype=torch.int32, device=DEVICE)
    pattern, out = Pattern(offsets, columns, n), torch.zeros(1, m, device=DEVICE)
    cuda.add_product(pattern, torch.ones(1, device=DEVICE), scores, out)
    assert float(out[0, -1]) == float(out.sum()) == 2
    left = torch.ones(1, m, dtype=torch.bfloat16, device=DEVICE)
    assert cuda.sampled(pattern, left, scores).tolist() == [2]
    cuda.keep_largest(scores, 1)
    assert float(scores[-1].sum()) == 2
