"""A checkpoint stands until the next one is whole."""

import pytest
import torch

import sae.checkpoint
from sae import InsightError
from sae.checkpoint import Checkpoint, Progress

SETTINGS = {"train": {"lr": 0.1}, "data": {"dim": 3}}
CPU = torch.device("cpu")


def progress(step):
    return Progress(step, scale=0.1 + step, threshold_sum=1 / 3, threshold_count=0.7, selection_cut=None, log_bytes=9)


def test_what_was_saved_comes_back_exactly(tmp_path):
    checkpoint = Checkpoint(tmp_path / "checkpoint", SETTINGS)
    assert checkpoint.load(CPU) is None
    for step in (3, 5):
        checkpoint.save(progress(step), {"a": torch.full((2,), float(step)), "b": torch.tensor(step)})
    found, tensors = Checkpoint(tmp_path / "checkpoint", SETTINGS).load(CPU)
    assert found == progress(5)
    assert torch.equal(tensors["a"], torch.tensor([5.0, 5.0]))
    assert torch.equal(tensors["b"], torch.tensor(5))
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "checkpoint.json",
        "state-5.safetensors",
    ]
    checkpoint.remove()
    assert not (tmp_path / "checkpoint").exists()
    assert checkpoint.load(CPU) is None


@pytest.mark.parametrize("broken", ["save_file", "write_json"])
def test_a_save_that_breaks_off_leaves_the_one_before(tmp_path, monkeypatch, broken):
    checkpoint = Checkpoint(tmp_path, SETTINGS)
    checkpoint.save(progress(3), {"a": torch.ones(2)})

    def disk_full(*arguments):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sae.checkpoint, broken, disk_full)
        with pytest.raises(OSError, match="no space"):
            checkpoint.save(progress(5), {"a": torch.zeros(2)})
    found, tensors = checkpoint.load(CPU)
    assert found == progress(3)
    assert torch.equal(tensors["a"], torch.ones(2))
    checkpoint.save(progress(7), {"a": torch.zeros(2)})
    assert [path.name for path in tmp_path.glob("*state*")] == ["state-7.safetensors"]


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"train": {"lr": 0.2}, "data": {"dim": 3}}, r"train\.lr = 0\.1, now 0\.2"),
        ({"train": {"lr": 0.1, "seed": 1}, "data": {"dim": 3}}, r"train\.seed = None, now 1"),
        ({"train": {"lr": 0.1}, "data": {"dim": 3}, "note": 5}, "note = None, now 5"),
    ],
)
def test_a_run_with_other_settings_is_told_which(tmp_path, settings, difference):
    Checkpoint(tmp_path, SETTINGS).save(progress(3), {"a": torch.ones(2)})
    with pytest.raises(InsightError, match=difference):
        Checkpoint(tmp_path, settings).load(CPU)
