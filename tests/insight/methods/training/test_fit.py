"""The training loop: its steps by hand, the same bytes after it was stopped, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.backbones import Backbone
from insight.methods import Batch, FineTuned
from insight.methods.deal import Deal, DealSettings
from insight.methods.probe import LinearProbe
from insight.methods.training import Examples, FitConfig, fit
from sae.errors import InsightError
from tests.insight.methods.coloured_squares import squares, squares_bank
from tests.insight.tiny_clip import tiny_clip

STATE = "fit.safetensors"
CONFIG = FitConfig(epochs=4, batch_size=4, lr=0.01)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip(seed=2)


class Noisy(LinearProbe):
    """Draws noise of its own at every step, as methods may."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        noise = torch.randn(batch.kept.shape, generator=batch.random)
        return super().losses(replace(batch, kept=batch.kept + 0.1 * noise))


METHODS: dict[str, Callable[[Backbone], FineTuned]] = {
    "noisy": lambda clip: Noisy(clip, squares_bank()),
    "deal": lambda clip: Deal(clip, squares_bank(), DealSettings(blocks=1)),
}


def stop_after(method: FineTuned, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, left = method.losses, iter(range(steps))

    def stopping(batch: Batch) -> dict[str, Tensor]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return losses(batch)

    monkeypatch.setattr(method, "losses", stopping)


@pytest.mark.parametrize("largest", [0.02, 10.0], ids=["clipped", "as-it-is"])
def test_full_batches_by_sgd_are_the_steps_by_hand(clip: Backbone, largest: float) -> None:
    """Momentum 0.9, decay in the gradient; the rate rises over a quarter of the steps, then falls as a cosine."""
    photos = squares(9)
    config = FitConfig(epochs=8, batch_size=9, lr=0.3, optimiser="sgd", weight_decay=0.05, warmup=0.25, clip=largest)
    probe = LinearProbe(clip, squares_bank())
    _, kept = photos.kept_by(probe.tower, progress=False)
    x = kept[:, 0].double().numpy()
    x = np.hstack([x / np.linalg.norm(x, axis=1, keepdims=True), np.ones((9, 1))])
    wanted, weights, speed, clipped = [], np.zeros((3, 25)), np.zeros((3, 25)), []
    for step in range(8):
        probabilities = np.exp(x @ weights.T)
        probabilities /= probabilities.sum(1, keepdims=True)
        wanted.append(-np.mean(np.log(probabilities[np.arange(9), photos.labels])))
        slope = (probabilities - np.eye(3)[photos.labels]).T @ x / 9
        clipped.append(np.linalg.norm(slope) > largest)
        slope *= min(1, largest / np.linalg.norm(slope))
        speed = 0.9 * speed + slope + 0.05 * weights
        share = (step + 1) / 3 if step < 2 else (1 + math.cos(math.pi * (step - 2) / 6)) / 2
        weights = weights - 0.3 * share * speed
    assert all(clipped) if largest < 1 else not any(clipped)
    history = fit(probe, photos, config, progress=False)
    np.testing.assert_allclose([epoch["classes"] for epoch in history], wanted, rtol=1e-5)
    found = torch.cat([probe.linear.weight, probe.linear.bias[:, None]], 1).detach()
    np.testing.assert_allclose(found, weights, rtol=1e-4, atol=1e-5)


def test_the_history_is_the_mean_over_photos_though_the_last_batch_is_small(clip: Backbone) -> None:
    class Counting(LinearProbe):
        def losses(self, batch: Batch) -> dict[str, Tensor]:
            nothing = 0 * self.linear.bias.sum()
            return {"labels": nothing + batch.labels.double().mean(), "one": nothing + 1}

    photos = squares(7)
    history = fit(Counting(clip, squares_bank()), photos, CONFIG, progress=False)
    assert len(history) == 4
    for epoch in history:
        assert epoch == {"labels": pytest.approx(float(photos.labels.double().mean())), "one": 1}


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("kind", METHODS)
def test_a_stopped_training_goes_on_to_the_same_bytes(
    clip: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, optimiser: str
) -> None:
    config = replace(CONFIG, optimiser=optimiser, lr=1e-3)
    whole, stopped, resumed = (METHODS[kind](clip) for _ in range(3))
    wanted = fit(whole, squares(10), config, folder=tmp_path / "whole", progress=False)
    stop_after(stopped, 3 * 2 + 1, monkeypatch)  # in the third epoch
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, squares(10), config, folder=tmp_path / "stopped", progress=False)
    after_two = (tmp_path / "stopped" / STATE).read_bytes()
    assert fit(resumed, squares(10), config, folder=tmp_path / "stopped", progress=False) == wanted
    assert (tmp_path / "stopped" / STATE).read_bytes() == (tmp_path / "whole" / STATE).read_bytes() != after_two
    assert resumed.fingerprint == whole.fingerprint != METHODS[kind](clip).fingerprint


def test_a_finished_training_is_read_and_not_run_again(
    clip: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (METHODS["noisy"](clip) for _ in range(2))
    history = fit(first, squares(10), CONFIG, folder=tmp_path, progress=False)
    stop_after(second, 0, monkeypatch)
    assert fit(second, squares(10), CONFIG, folder=tmp_path, progress=False) == history
    assert second.fingerprint == first.fingerprint


def test_another_seed_is_another_training(clip: Backbone) -> None:
    def trained(seed: int) -> str:
        method = METHODS["noisy"](clip)
        fit(method, squares(10), replace(CONFIG, seed=seed), progress=False)
        return method.fingerprint

    assert trained(0) == trained(0) != trained(1)


def test_every_epoch_sees_all_photos_in_an_order_of_its_own(clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = METHODS["noisy"](clip), []
    losses = method.losses
    monkeypatch.setattr(method, "losses", lambda batch: seen.append(batch.kept[:, 0, 0]) or losses(batch))
    fit(method, squares(10), CONFIG, progress=False)
    epochs = [torch.cat(seen[start : start + 3]).tolist() for start in range(0, 12, 3)]
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_photos_of_one_class_are_refused(clip: Backbone) -> None:
    photos = squares(9)
    with pytest.raises(InsightError, match="at least two classes, found 3 of 'green square' alone; add photos"):
        fit(METHODS["noisy"](clip), photos.at(photos.labels == 1), CONFIG, progress=False)
    with pytest.raises(InsightError, match="at least two classes, found none"):
        fit(METHODS["noisy"](clip), photos.at([]), CONFIG, progress=False)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=["nan", "inf"])
def test_a_loss_that_is_no_number_stops_the_training_before_a_step(
    clip: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    method = METHODS["noisy"](clip)
    losses, steps = method.losses, iter(range(100))

    def broken(batch: Batch) -> dict[str, Tensor]:
        terms = losses(batch)
        return {**terms, "other": terms["classes"] * (value if next(steps) >= 4 else 0)}

    monkeypatch.setattr(method, "losses", broken)
    with pytest.raises(InsightError, match=rf"probe: the loss became {value} in epoch 2; lower .* \(it is 0.01\)"):
        fit(method, squares(10), CONFIG, folder=tmp_path, progress=False)
    assert all(bool(weight.isfinite().all()) for weight in method.trained().values())
    assert (tmp_path / STATE).exists()


def test_a_state_of_other_settings_is_refused_by_what_differs(clip: Backbone, tmp_path: Path) -> None:
    def go_on(method: FineTuned, n: int = 10, photos: Examples | None = None, **changes: object) -> None:
        fit(method, photos or squares(n), replace(CONFIG, **changes), folder=tmp_path, progress=False)

    bank = squares_bank()
    go_on(METHODS["deal"](clip), epochs=1)
    before = (tmp_path / STATE).read_bytes()
    others: list[tuple[str, Callable[[], None]]] = [
        ("lr 0.01, this one has 0.02", lambda: go_on(METHODS["deal"](clip), epochs=1, lr=0.02)),
        ("seed 0, this one has 1", lambda: go_on(METHODS["deal"](clip), epochs=1, seed=1)),
        ("examples 10, this one has 9", lambda: go_on(METHODS["deal"](clip), n=9, epochs=1)),
        ("method 'deal', this one has 'probe'", lambda: go_on(METHODS["noisy"](clip), epochs=1)),
        ("settings .*separation=0.1.*separation=0.2", lambda: go_on(Deal(clip, bank, DealSettings(0.2)), epochs=1)),
        ("bank", lambda: go_on(Deal(clip, bank.shuffled(0), DealSettings(blocks=1)), epochs=1)),
        ("photos", lambda: go_on(METHODS["deal"](clip), photos=squares(11).at(range(1, 11)), epochs=1)),
        ("backbone", lambda: go_on(Deal(tiny_clip(seed=3), bank, DealSettings(blocks=1)), epochs=1)),
    ]
    for said, run in others:
        with pytest.raises(InsightError, match=f"is of a training with {said}"):
            run()
    assert (tmp_path / STATE).read_bytes() == before


@pytest.mark.parametrize("left", [0, 5, 100, -1], ids=["empty", "five-bytes", "header-cut", "last-byte-gone"])
def test_a_damaged_state_is_refused(clip: Backbone, tmp_path: Path, left: int) -> None:
    fit(METHODS["noisy"](clip), squares(10), CONFIG, folder=tmp_path, progress=False)
    path = tmp_path / STATE
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InsightError, match=r"fit\.safetensors: expected the state of a training, found a damaged file"):
        fit(METHODS["noisy"](clip), squares(10), CONFIG, folder=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"epochs": 0}, "epochs of 1 or more, found 0"),
        ({"batch_size": 0}, "batch_size of 1 or more, found 0"),
        ({"lr": 0.0}, "lr above 0, found 0.0"),
        ({"weight_decay": -1.0}, "weight_decay of 0 or more, found -1.0"),
        ({"warmup": 1.0}, "warmup from 0 up to 1, found 1.0"),
        ({"clip": math.nan}, "clip above 0, found nan"),
        ({"optimiser": "adam"}, "optimiser one of adamw, sgd, found adam"),
    ],
    ids=["epochs", "batch_size", "lr", "weight_decay", "warmup", "clip", "optimiser"],
)
def test_plans_that_cannot_be_are_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(InsightError, match=match):
        FitConfig(**change)  # type: ignore[arg-type]
