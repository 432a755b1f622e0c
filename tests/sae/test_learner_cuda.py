"""Whole steps of BatchTopK that never wait for the device, against steps on the CPU (see test_kernels_cuda.py)."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sae import preactivations
from sae.checkpoint import Checkpoint
from sae.config import SaeConfig, TrainConfig
from sae.learner import Learner

from .cuda_kernels import DEVICE, INTERPRETED, close, on_device, pass_interpreted

CONFIG = SaeConfig(dim=10, n_concepts=16, k=3, fractions=(0.25, 0.25, 0.5))
N = 8
FOREVER = 10**12
"""Tokens of silence."""

if not INTERPRETED:

    @pytest.mark.slow
    def test_steps_agree_through_the_interpreter():
        pass_interpreted(__file__)


@pytest.fixture(autouse=True)
def by_these_kernels(monkeypatch):
    """Learners on `DEVICE` work as on a GPU that has bfloat16, learners of `on_cpu` as on any CPU."""
    pytest.importorskip("triton")
    monkeypatch.setattr(preactivations, "multiplies_bfloat16_fast", lambda device: True)
    if INTERPRETED:
        from sae.kernels import cuda
        from sae.selection.batch_topk_cuda import BatchTopKOnCuda

        monkeypatch.setattr("sae.kernels._implementation", lambda tensor, *types: cuda)
        monkeypatch.setattr("sae.learner.rule_of", lambda *arguments: BatchTopKOnCuda)


def on_cpu(action):
    """What `action` gives where the plain path is taken."""
    with pytest.MonkeyPatch.context() as patch:
        if INTERPRETED:
            from sae.kernels import pytorch
            from sae.selection import BatchTopK

            patch.setattr("sae.kernels._implementation", lambda tensor, *types: pytorch)
            patch.setattr("sae.learner.rule_of", lambda *arguments: BatchTopK)
        patch.setattr(preactivations, "multiplies_bfloat16_fast", lambda device: False)
        return action("cpu")


def tokens(generator, n=N):
    return torch.randn(n, 10, generator=generator) + 0.5


def restored(learner, train):
    """A learner that goes on from what this one would save."""
    return Learner.restore(learner.config, train, learner.progress, learner.tensors())


def state(learner):
    """Weights, and all else that a step leaves behind for the next, in one row."""
    progress = learner.progress
    numbers = torch.tensor([float(progress.threshold_sum), progress.threshold_count, float(progress.selection_cut)])
    parts = [*learner.optimiser.weights, numbers, learner.autoencoder().threshold.detach()]
    return torch.cat([part.double().cpu().flatten() for part in parts])


@on_device
@pytest.mark.parametrize(
    ("settings", "n_dead"),
    [({}, 0), ({}, 5), ({"accumulate": 2}, 0), ({"revival": "none"}, 3)],
    ids=["plain", "dead concepts", "in parts", "nothing revives"],
)
def test_steps_are_those_of_the_cpu(generator, settings, n_dead):
    x = tokens(generator, N // 2).repeat(2, 1)  # parts that are alike, so that one's cut serves the other
    train = TrainConfig(50, N, lr=1e-4, threshold_start_step=1, threshold_beta=0.9, **settings)

    def taken(device):
        learner = Learner.start(CONFIG, train, x.to(device))
        learner.silent_tokens[:n_dead] = FOREVER
        learner.optimiser.weights.encoder[:n_dead] *= 0.01  # they stay as silent as they are said to be
        learner = restored(learner, train)
        rows = [learner.step(x.to(device)).row() for _ in range(3)]
        return rows, state(learner), learner.silent_tokens.cpu()

    (found, own, silent), (expected, theirs, theirs_silent) = taken(DEVICE), on_cpu(taken)
    for row, wanted in zip(found, expected):
        assert row.keys() == wanted.keys()
        assert "inexact" not in row
        assert row["loss"] == pytest.approx(wanted["loss"], rel=2e-3)
        assert row["fvu"] == pytest.approx(wanted["fvu"], rel=2e-3)
        assert row["l0"] == wanted["l0"] == 3
        assert row["dead"] == wanted["dead"] == n_dead / 16
    close(own, theirs, tolerance=1e-3)
    assert torch.equal(silent, theirs_silent)


@on_device
def test_where_too_few_are_positive_only_those_are_active(generator):
    x, train = tokens(generator), TrainConfig(50, N, threshold_start_step=0)

    def taken(device):
        learner = Learner.start(CONFIG, train, x.to(device))
        learner.optimiser.weights.encoder_bias[:] = -100
        learner.optimiser.weights.encoder_bias[7] = 100
        row = learner.step(x.to(device)).row()
        return row, torch.cat([gradient.cpu().flatten().double() for gradient in learner.gradients]), learner

    (row, found, learner), (wanted, expected, _) = taken(DEVICE), on_cpu(taken)
    assert row["l0"] == wanted["l0"] == 1
    assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    close(found, expected, tolerance=1e-4)
    assert (learner.silent_tokens == 0).nonzero().tolist() == [[7]]
    assert float(learner.progress.threshold_sum) > 90
    learner.optimiser.weights.encoder_bias[:] = -100
    row = learner.step(x.to(DEVICE)).row()
    assert row["l0"] == 0


@on_device
def test_a_cut_that_is_too_high_is_counted_and_comes_down(generator):
    x, train = tokens(generator), TrainConfig(50, N, lr=1e-5)
    learner = Learner.start(CONFIG, train, x.to(DEVICE))
    learner.step(x.to(DEVICE))
    edge = float(learner.rule.cut) / 0.97
    learner.progress.selection_cut = 1.5 * edge
    learner = restored(learner, train)
    rows = [learner.step(x.to(DEVICE)).row() for _ in range(4)]
    assert [row.get("inexact", 0) for row in rows] == [1, 2, 2, 2]  # 1.5 · 0.8² is below 1
    assert rows[-1]["l0"] == 3
    assert float(learner.rule.cut) == pytest.approx(0.97 * edge, rel=0.02)


@on_device
def test_a_saved_run_goes_on_bit_for_bit(generator, tmp_path):
    batches = [tokens(generator).to(DEVICE) for _ in range(5)]
    train = TrainConfig(50, N, lr=1e-2, threshold_start_step=1)
    learner, checkpoint = Learner.start(CONFIG, train, batches[0]), Checkpoint(tmp_path, {})
    learner.progress.selection_cut = learner.rule.cut = 1e3  # so that there is something to count
    for batch in batches[:3]:
        learner.step(batch)
    checkpoint.save(learner.progress, learner.tensors())
    again = Learner.restore(CONFIG, train, *checkpoint.load(torch.device(DEVICE)))
    for batch in batches[3:]:
        one, two = learner.step(batch).row(), again.step(batch).row()
        assert one == two
        assert one["inexact"] >= 3
    assert torch.equal(state(learner), state(again))


@on_device
def test_a_run_of_the_cpu_goes_on_here_and_back(generator, tmp_path):
    x, train = tokens(generator), TrainConfig(50, N, lr=1e-4, threshold_start_step=0)

    def begun(device):
        learner = Learner.start(CONFIG, train, x.to(device))
        learner.step(x.to(device))
        return learner

    def goes_on(device):
        learner = Learner.restore(CONFIG, train, *Checkpoint(tmp_path, {}).load(torch.device(device)))
        row = learner.step(x.to(device)).row()
        Checkpoint(tmp_path, {}).save(learner.progress, learner.tensors())
        return row, state(learner)

    plain = on_cpu(begun)
    Checkpoint(tmp_path, {}).save(plain.progress, plain.tensors())
    for way in (lambda action: action(DEVICE), on_cpu):
        row, found = way(goes_on)
        wanted = on_cpu(lambda device: plain.step(x).row())
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-3)
        close(found, state(plain), tolerance=1e-3)


class Waits(TorchDispatchMode):
    """Lists the operations whose result, or the size of it, a GPU's host would have to wait for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        sized = name in (
            "_local_scalar_dense",
            "equal",
            "nonzero",
            "masked_select",
            "bincount",
            "_unique2",
            "unique_dim",
        )
        masked = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        uncounted = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        if sized or masked or uncounted:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@on_device
@pytest.mark.parametrize(
    ("settings", "n_dead", "waits"),
    [
        ({}, 0, []),
        ({}, 5, ["nonzero"]),
        ({"accumulate": 2, "random_prefixes": 2}, 0, []),
        ({"revival": "none"}, 5, []),
    ],
    ids=["plain", "AuxK lists its dead concepts", "in parts", "nothing revives"],
)
def test_no_operation_of_a_step_needs_an_answer(generator, settings, n_dead, waits):
    x = tokens(generator).to(DEVICE)
    train = TrainConfig(50, N, lr=1e-4, threshold_start_step=0, **settings)
    learner = Learner.start(CONFIG, train, x)
    learner.silent_tokens[:n_dead] = FOREVER
    learner.optimiser.weights.encoder[:n_dead] *= 0.01
    learner = restored(learner, train)
    learner.step(x)
    with Waits() as asked:
        learner.step(x)
    assert asked.found == waits


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"revival": "none"}, {"random_prefixes": 4}], ids=str)
def test_a_step_without_dead_concepts_does_not_wait_for_the_device(generator, settings):
    x = tokens(generator, 512).to(DEVICE)
    learner = Learner.start(CONFIG, TrainConfig(50, 512, threshold_start_step=0, **settings), x)
    learner.step(x)  # kernels are compiled as they are first called
    torch.cuda.set_sync_debug_mode("error")
    try:
        reports = [learner.step(x) for _ in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(report.row()["l0"] == 3 for report in reports)


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no CUDA device")
def test_products_are_summed_in_float32_and_the_setting_is_left_as_it_was(generator):
    settings = torch.backends.cuda.matmul
    before = settings.allow_bf16_reduced_precision_reduction
    Learner.start(CONFIG, TrainConfig(50, N), tokens(generator).to(DEVICE)).step(tokens(generator).to(DEVICE))
    assert settings.allow_bf16_reduced_precision_reduction == before
