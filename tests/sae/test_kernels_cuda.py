"""The Triton kernels against dense float64 forms, on fresh random inputs of odd sizes.

Without a GPU they run through Triton's interpreter, which has to be chosen before triton is imported: one test runs
this file again in a process of its own, where every other test of it is collected too. So do its sisters'.
`pytest -m gpu` runs the same tests on a CUDA device.
"""

import subprocess
import sys

import pytest
import torch

from sae.kernels import Pattern

from .cuda_kernels import (
    DEVICE,
    INTERPRETED,
    TYPES,
    close,
    normal,
    on_device,
    pass_interpreted,
    pattern_of,
    scattered,
    some,
)

if not INTERPRETED:

    @pytest.mark.slow
    def test_every_kernel_agrees_with_its_dense_form_through_the_interpreter():
        pass_interpreted(__file__)

    def test_triton_is_not_imported_with_the_package():
        program = "import sys, sae, sae.kernels, sae.trainer; sys.exit('triton' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.fixture
def cuda():
    pytest.importorskip("triton")
    from sae.kernels import cuda

    return cuda


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


def trained(device, screened, dead, monkeypatch):
    """Losses of two steps on seeded data, and the last gradients."""
    from sae import preactivations
    from sae.config import SaeConfig, TrainConfig
    from sae.learner import Learner
    from sae.selection import BatchTopK

    monkeypatch.setattr("sae.learner.rule_of", lambda *arguments: BatchTopK)  # whose search is in these kernels
    monkeypatch.setattr(preactivations, "multiplies_bfloat16_fast", lambda device: screened)
    draw = torch.Generator().manual_seed(5)
    batches = [torch.randn(9, 10, generator=draw).to(device) for _ in range(3)]
    config = SaeConfig(dim=10, n_concepts=36, k=3, fractions=(0.25, 0.25, 0.5))
    train = TrainConfig(steps=50)
    learner = Learner.start(config, train, batches[0])
    learner.silent_tokens[:dead] = 10**12
    learner = Learner.restore(config, train, learner.progress, learner.tensors())
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
