"""Several autoencoders in one pass over the data are those that would have been trained alone."""

import json

import pytest
import torch

from sae import InsightError, Job, SaeConfig, TensorSource, TrainConfig, train, train_many

FRACTIONS = (0.25, 0.75)


def jobs(folder, steps=(12, 20, 20)):
    settings = [(16, 2, 0), (32, 4, 0), (32, 4, 1)]
    return [
        Job(
            SaeConfig(6, n_concepts, k, fractions=FRACTIONS),
            TrainConfig(own, 64, seed=seed, data_seed=0, checkpoint_seconds=0),
            folder / f"{n_concepts}-{k}-{seed}",
        )
        for (n_concepts, k, seed), own in zip(settings, steps)
    ]


class Counted(TensorSource):
    """Counts the batches that are read, and stops the run at one of them."""

    read, stop_at = 0, None

    def batches(self, batch_size, *, seed, start_step=0):
        for step, batch in enumerate(super().batches(batch_size, seed=seed, start_step=start_step), start_step):
            self.read += 1
            if step == self.stop_at:
                raise KeyboardInterrupt
            yield batch


def same_bytes(one, other):
    return (one / "sae.safetensors").read_bytes() == (other / "sae.safetensors").read_bytes()


def test_each_is_what_it_would_have_been_alone(generator, tmp_path):
    source = Counted(torch.randn(500, 6, generator=generator))
    together = jobs(tmp_path / "together")
    found = train_many(source, together, progress=False)
    assert source.read == 20
    for job, alone, sae in zip(together, jobs(tmp_path / "alone"), found):
        train(source, alone.config, alone.train, alone.out, progress=False)
        assert same_bytes(job.out, alone.out)
        assert torch.equal(sae.decoder, train(source, job.config, job.train, job.out, progress=False).decoder)
        lines = (job.out / "training.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == list(range(job.train.steps))


def test_each_goes_on_from_where_it_was_left(generator, tmp_path):
    source = Counted(torch.randn(500, 6, generator=generator))
    together = jobs(tmp_path / "together")
    train(source, together[0].config, together[0].train, together[0].out, progress=False)  # one is finished,
    source.stop_at = 9
    with pytest.raises(KeyboardInterrupt):  # one stands at step 9,
        train(source, together[1].config, together[1].train, together[1].out, progress=False)
    source.stop_at = None  # and one has not begun
    train_many(source, together, progress=False)
    train_many(source, jobs(tmp_path / "whole"), progress=False)
    for job, whole in zip(together, jobs(tmp_path / "whole")):
        assert same_bytes(job.out, whole.out)


def test_jobs_that_cannot_share_a_pass_are_refused(generator, tmp_path):
    source = TensorSource(torch.randn(50, 6, generator=generator))
    config = SaeConfig(6, 16, 2, fractions=FRACTIONS)
    for other in (TrainConfig(5, 8, seed=1), TrainConfig(5, 9)):
        with pytest.raises(InsightError, match="one batch_size and one data_seed"):
            train_many(source, [Job(config, TrainConfig(5, 8), tmp_path / "a"), Job(config, other, tmp_path / "b")])
    with pytest.raises(InsightError, match="named twice"):
        train_many(source, 2 * [Job(config, TrainConfig(5, 8), tmp_path / "a")])


def test_tensorboard_gets_the_lines_of_the_log(generator, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="not installed")
    source = TensorSource(torch.randn(50, 6, generator=generator))
    config = SaeConfig(6, 16, 2, fractions=FRACTIONS)
    train(source, config, TrainConfig(5, 8), tmp_path, progress=False, monitor="tensorboard")
    found = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    rows = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([row["loss"] for row in rows])
    assert [event.value for event in found.Scalars("fvu/level_1")] == pytest.approx([row["fvu"][1] for row in rows])


def test_a_monitor_that_is_not_installed_is_named(generator, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    source = TensorSource(torch.randn(50, 6, generator=generator))
    with pytest.raises(InsightError, match="pip install wandb"):
        train(source, SaeConfig(6, 16, 2, fractions=FRACTIONS), TrainConfig(5, 8), tmp_path, monitor="wandb")
