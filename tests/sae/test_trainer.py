"""Training learns, can be stopped at any moment in any way, and refuses what cannot be trained."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sae import InsightError, SaeConfig, SparseAutoencoder, TensorSource, TrainConfig, evaluate, train
from sae.initial import initial_weights

CONFIG = SaeConfig(dim=16, n_concepts=128, k=4)


def sparse_features(generator, n=8192, dim=16, n_atoms=48, scale=1.0):
    """Sparse mixes of random directions, of uneven use and size, round a common mean."""
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, dim, generator=generator), dim=1)
    frequency = (torch.arange(n_atoms) + 3.0).pow(-1)
    on = torch.rand(n, n_atoms, generator=generator) < 3 * frequency / frequency.sum()
    sizes = 0.5 + torch.rand(n, n_atoms, generator=generator)
    mean = 0.5 * torch.randn(dim, generator=generator)
    return scale * ((on * sizes) @ atoms + mean + 0.02 * torch.randn(n, dim, generator=generator))


def log_of(folder):
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def test_training_learns_level_by_level_and_measures_its_threshold(generator, tmp_path):
    x, config = sparse_features(generator, n=16_384), SaeConfig(16, 128, 4, fractions=(0.05, 0.2, 0.75))
    sae = train(TensorSource(x[:8192]), config, TrainConfig(400, 512, lr=3e-3), tmp_path, progress=False)
    measured = evaluate(sae, x[8192:].split(1000))
    assert measured["fvu"] == sorted(measured["fvu"], reverse=True)
    assert measured["fvu"][-1] < 0.25
    assert measured["l0"] == pytest.approx(config.k, rel=0.06)
    torch.testing.assert_close(sae.decoder.norm(dim=1), torch.ones(128))

    log = log_of(tmp_path)
    assert [row["step"] for row in log] == list(range(400))
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert log[-1]["l0"] == config.k
    assert log[-1]["fvu"] == pytest.approx(measured["fvu"], rel=0.2)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "sae.safetensors", "training.jsonl"]
    again = SparseAutoencoder.from_pretrained(tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(sae.state_dict().values(), again.state_dict().values()))


def test_with_rescaling_the_unit_of_the_features_does_not_matter(generator, tmp_path):
    x = sparse_features(generator)
    run = TrainConfig(40, 256)
    one = train(TensorSource(x), CONFIG, run, tmp_path / "1", progress=False)
    large = train(TensorSource(1024 * x), CONFIG, run, tmp_path / "1024", progress=False)
    assert torch.equal(one.encoder, large.encoder)
    assert torch.equal(1024 * one.decoder_bias, large.decoder_bias)
    torch.testing.assert_close(1024 * one.threshold, large.threshold)
    assert torch.equal(one.encode(x[:100]).concepts, large.encode(1024 * x[:100]).concepts)
    without = TrainConfig(40, 256, rescale=False)
    other = train(TensorSource(1024 * x), CONFIG, without, tmp_path / "raw", progress=False)
    assert not torch.allclose(other.encoder, large.encoder, atol=1e-4)


def test_only_the_auxiliary_loss_moves_concepts_that_never_fire(generator, tmp_path):
    x = sparse_features(generator)
    config = SaeConfig(dim=16, n_concepts=1024, k=1)
    start = initial_weights(config, x, seed=0).decoder
    still = {}
    for coefficient in (0.0, 1 / 32):
        run = TrainConfig(60, 256, aux_coefficient=coefficient, dead_after_tokens=2560)
        sae = train(TensorSource(x), config, run, tmp_path / str(coefficient), progress=False)
        still[coefficient] = (sae.decoder - start).abs().amax(1) < 1e-5
    assert int(still[0.0].sum()) > 0
    assert int(still[1 / 32].sum()) < 0.5 * int(still[0.0].sum())


def test_a_long_log_is_thinned_to_whole_intervals(generator, tmp_path):
    source, config = TensorSource(torch.randn(64, 2, generator=generator)), SaeConfig(2, 4, 1, fractions=(1.0,))
    train(source, config, TrainConfig(2500, 4), tmp_path, progress=False)
    assert [row["step"] for row in log_of(tmp_path)] == list(range(1, 2500, 2))


class Slow(TensorSource):
    """Leaves time to be killed in."""

    def batches(self, batch_size, *, seed, start_step=0):
        for batch in super().batches(batch_size, seed=seed, start_step=start_step):
            time.sleep(0.01)
            yield batch


def slow_run(folder, seed):
    features = torch.randn(3000, 16, generator=torch.Generator().manual_seed(seed))
    run = TrainConfig(120, 200, dead_after_tokens=2000, checkpoint_seconds=0.1)
    train(Slow(features), CONFIG, run, folder, extra={"note": [1]}, progress=False)


def start(folder, seed):
    """`slow_run` in a process of its own."""
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parents[2]), str(here.parent)])
    command = [sys.executable, "-c", f"import {here.stem}; {here.stem}.slow_run({str(folder)!r}, {seed})"]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def wait_for_step(process, folder, step):
    while process.poll() is None:
        path = folder / "checkpoint" / "checkpoint.json"
        if path.exists() and json.loads(path.read_text())["progress"]["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"the run ended by itself: {process.stderr.read().decode()}")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bytes(tmp_path):
    seed = int.from_bytes(os.urandom(3), "little")
    print(f"seed {seed}")
    slow_run(tmp_path / "whole", seed)
    for step in (1, 50):
        process = start(tmp_path / "killed", seed)
        wait_for_step(process, tmp_path / "killed", step)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(tmp_path / "killed", seed).wait() == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_terminated_run_saves_where_it_stands(tmp_path):
    process = start(tmp_path, 0)
    wait_for_step(process, tmp_path, 1)
    process.terminate()
    assert process.wait() == -signal.SIGTERM
    saved = json.loads((tmp_path / "checkpoint" / "checkpoint.json").read_text())["progress"]
    assert saved["log_bytes"] == (tmp_path / "training.jsonl").stat().st_size
    assert saved["step"] == len(log_of(tmp_path)) < 120


class Interrupting(TensorSource):
    """Sends SIGINT to the own process with its n-th batch."""

    def __init__(self, features, at):
        super().__init__(features)
        self.at = at

    def batches(self, batch_size, *, seed, start_step=0):
        for step, batch in enumerate(super().batches(batch_size, seed=seed, start_step=start_step), start_step):
            if step == self.at:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch


def test_an_interrupted_run_goes_on_bit_for_bit_with_the_same_settings_only(generator, tmp_path):
    x, run = sparse_features(generator), TrainConfig(30, 100, dead_after_tokens=500)
    whole = train(TensorSource(x), CONFIG, run, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(x, at=11), CONFIG, run, tmp_path / "parts", progress=False)
    assert len(log_of(tmp_path / "parts")) == 12
    with pytest.raises(InsightError, match=r"checkpoint\.json: started with train\.lr = 0\.002, now 0\.5 is asked for"):
        train(TensorSource(x), CONFIG, TrainConfig(30, 100, lr=0.5, dead_after_tokens=500), tmp_path / "parts")
    with (tmp_path / "parts" / "training.jsonl").open("a") as log:
        log.write('{"step": 12, "lo')  # as a kill in the middle of a line would leave it
    resumed = train(TensorSource(x), CONFIG, run, tmp_path / "parts", progress=False)
    assert all(torch.equal(one, two) for one, two in zip(whole.state_dict().values(), resumed.state_dict().values()))
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_finished_folder_is_given_back_or_refused(generator, tmp_path):
    source, run = TensorSource(sparse_features(generator)), TrainConfig(3, 100)
    sae = train(source, CONFIG, run, tmp_path, extra={"backbone": {"name": "small"}}, progress=False)
    before = {name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if (name := path.name)}
    again = train(source, CONFIG, run, tmp_path, extra={"backbone": {"name": "small"}}, progress=False)
    assert torch.equal(sae.encoder, again.encoder)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    later = TrainConfig(3, 100, checkpoint_seconds=5)
    assert torch.equal(train(source, CONFIG, later, tmp_path, progress=False).encoder, sae.encoder)

    with pytest.raises(InsightError, match=r"config\.json: started with train\.seed = 0, now 1"):
        train(source, CONFIG, TrainConfig(3, 100, seed=1), tmp_path)
    with pytest.raises(InsightError, match=r"sae\.k = 4, now 5"):
        train(source, SaeConfig(16, 128, 5), run, tmp_path)
    with pytest.raises(InsightError, match=r"data\.n_tokens = 8192, now 8191"):
        train(TensorSource(source.features[1:]), CONFIG, run, tmp_path)
    with pytest.raises(InsightError, match=r"backbone\.name = small, now other"):
        train(source, CONFIG, run, tmp_path, extra={"backbone": {"name": "other"}})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["train"] == run.to_dict()
    assert config["backbone"] == {"name": "small"}


def test_a_folder_that_others_began_is_trained_into(generator, tmp_path):
    (tmp_path / "config.json").write_text('{"vocabulary": "words"}')
    train(TensorSource(sparse_features(generator)), CONFIG, TrainConfig(2, 50), tmp_path, progress=False)
    assert json.loads((tmp_path / "config.json").read_text())["vocabulary"] == "words"


def test_checkpoints_of_another_version_or_damaged_are_refused(generator, tmp_path):
    x, run = sparse_features(generator), TrainConfig(30, 100)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(x, at=3), CONFIG, run, tmp_path, progress=False)
    path = tmp_path / "checkpoint" / "checkpoint.json"
    whole = path.read_text()
    path.write_text(whole.replace('"format_version": 1', '"format_version": 9'))
    with pytest.raises(InsightError, match=r"version 1, found .* version 9"):
        train(TensorSource(x), CONFIG, run, tmp_path, progress=False)
    path.write_text(whole[:50])
    with pytest.raises(InsightError, match=r"checkpoint\.json: expected JSON"):
        train(TensorSource(x), CONFIG, run, tmp_path, progress=False)
    path.write_text(whole)
    (state,) = path.parent.glob("state-*")
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(InsightError, match=r"state-4\.safetensors: damaged"):
        train(TensorSource(x), CONFIG, run, tmp_path, progress=False)


def test_a_log_that_lost_lines_is_not_padded(generator, tmp_path):
    x, run = sparse_features(generator), TrainConfig(30, 100)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupting(x, at=3), CONFIG, run, tmp_path, progress=False)
    (tmp_path / "training.jsonl").write_text("")
    with pytest.raises(InsightError, match=r"training\.jsonl: expected at least [0-9]+ bytes, found 0"):
        train(TensorSource(x), CONFIG, run, tmp_path, progress=False)


def test_a_batch_of_another_size_is_refused(generator, tmp_path):
    class Short(TensorSource):
        def batches(self, batch_size, *, seed, start_step=0):
            for step, batch in enumerate(super().batches(batch_size, seed=seed, start_step=start_step)):
                yield batch[step // 2 :]

    with pytest.raises(InsightError, match=r"expected a batch \[50, 16\] from the source at step 2, found \[49, 16\]"):
        train(Short(sparse_features(generator)), CONFIG, TrainConfig(3, 50), tmp_path, progress=False)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_end_training_in_one_line(generator, tmp_path, bad):
    x = sparse_features(generator)
    x[5, 3] = bad
    with pytest.raises(InsightError, match=r"NaN or infinite features in 1 of 8192 tokens of the batch at step 0"):
        train(TensorSource(x), CONFIG, TrainConfig(3, 8192), tmp_path, progress=False)


def test_a_source_of_another_width_is_refused(tmp_path):
    with pytest.raises(InsightError, match="width 16, the source has 15"):
        train(TensorSource(torch.zeros(5, 15)), CONFIG, TrainConfig(3, 5), tmp_path, progress=False)


def test_a_diverging_run_says_so(generator, tmp_path):
    run = TrainConfig(50, 100, lr=1e30)
    with pytest.raises(InsightError, match=r"loss is not finite at step [0-9]+; lower lr"):
        train(TensorSource(sparse_features(generator)), CONFIG, run, tmp_path, progress=False)


@pytest.mark.parametrize(
    ("x", "batch_size"),
    [
        (torch.linspace(-1, 1, 32).view(2, 16), 1),
        (torch.linspace(-1, 1, 32).view(2, 16), 50),
        (torch.full((40, 16), 3.0), 10),
        (torch.zeros(40, 16), 10),
    ],
    ids=["one token a batch", "fewer tokens than a batch", "constant features", "nothing but zeros"],
)
def test_degenerate_data_trains_to_a_finite_autoencoder(x, batch_size, tmp_path):
    run = TrainConfig(20, batch_size, dead_after_tokens=1)
    sae = train(TensorSource(x), CONFIG, run, tmp_path, progress=False)
    assert all(bool(torch.isfinite(value).all()) for value in sae.state_dict().values())
    assert len(log_of(tmp_path)) == 20
    if x.std() == 0:
        torch.testing.assert_close(sae(x), x)


def test_training_is_the_same_from_the_same_seed_and_another_from_another(generator, tmp_path):
    source = TensorSource(sparse_features(generator))
    first, again = (train(source, CONFIG, TrainConfig(5, 100), tmp_path / name, progress=False) for name in "ab")
    other = train(source, CONFIG, TrainConfig(5, 100, seed=1), tmp_path / "c", progress=False)
    assert torch.equal(first.encoder, again.encoder)
    assert not torch.equal(first.encoder, other.encoder)


def test_the_progress_bar_shows_speed_loss_and_fvu(generator, tmp_path, capsys):
    train(TensorSource(sparse_features(generator)), CONFIG, TrainConfig(3, 100), tmp_path)
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("training", "tok/s", "loss=", "fvu=", "step=3"))


def test_sources_are_read_from_the_step_where_a_run_goes_on(generator, tmp_path):
    started = []

    class Watched(Interrupting):
        def batches(self, batch_size, *, seed, start_step=0):
            started.append(start_step)
            return super().batches(batch_size, seed=seed, start_step=start_step)

    x = sparse_features(generator)
    with pytest.raises(KeyboardInterrupt):
        train(Watched(x, at=6), CONFIG, TrainConfig(9, 100), tmp_path, progress=False)
    train(Watched(x, at=-1), CONFIG, TrainConfig(9, 100), tmp_path, progress=False)
    assert started == [0, 7]
    assert len(log_of(tmp_path)) == 9


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_is_training(generator, tmp_path):
    x, run = sparse_features(generator), TrainConfig(100, 512, dead_after_tokens=5120)
    fvu = {}
    for device in ("cpu", "cuda"):
        sae = train(TensorSource(x), CONFIG, run, tmp_path / device, progress=False, device=device)
        assert sae.encoder.device.type == "cpu"
        fvu[device] = evaluate(sae, [x])["fvu"]
        assert evaluate(sae.to(device), [x])["fvu"] == pytest.approx(fvu[device], rel=1e-3)
    assert fvu["cuda"] == pytest.approx(fvu["cpu"], rel=0.01)


def test_autocast_changes_no_byte(generator, tmp_path):
    source = TensorSource(torch.randn(300, 6, generator=generator))
    config, run = SaeConfig(6, 40, 3, fractions=(0.5, 0.5)), TrainConfig(10, 64)
    train(source, config, run, tmp_path / "plain", progress=False)
    with torch.autocast("cpu", torch.bfloat16):
        train(source, config, run, tmp_path / "autocast", progress=False)
    plain, cast = ((tmp_path / name / "sae.safetensors").read_bytes() for name in ("plain", "autocast"))
    assert plain == cast


def test_in_bfloat16_training_learns_nearly_as_well(generator, tmp_path):
    atoms = torch.randn(30, 16, generator=generator)
    x = (torch.rand(4000, 30, generator=generator) * (torch.rand(4000, 30, generator=generator) < 0.1)) @ atoms
    config = SaeConfig(16, 60, 3, fractions=(0.5, 0.5))
    exact, rounded = (
        train(TensorSource(x), config, TrainConfig(200, 256, precision=precision), tmp_path / precision, progress=False)
        for precision in ("float32", "bfloat16")
    )
    assert not torch.equal(exact.encoder, rounded.encoder)
    assert evaluate(rounded, [x])["fvu"][-1] == pytest.approx(evaluate(exact, [x])["fvu"][-1], rel=0.1)


def test_batches_are_closed_before_an_error_goes_its_way(generator, tmp_path):
    closed = []

    class Source(TensorSource):
        def batches(self, batch_size, *, seed, start_step=0):
            try:
                yield torch.full((batch_size, 16), float("nan"))
            finally:
                closed.append(True)

    with pytest.raises(InsightError, match="NaN") as held:  # and with it the frames that it went through
        train(Source(sparse_features(generator)), CONFIG, TrainConfig(4, 64), tmp_path, progress=False)
    assert closed, held
