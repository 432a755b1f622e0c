"""LinearProbe: a linear layer on unit photo vectors, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from insight.backbones import Backbone
from insight.methods import Batch
from insight.methods.files import load_method, save_method
from insight.methods.probe import LinearProbe, ProbeSettings
from insight.methods.training import FitConfig, fit
from insight.methods.training.fit import predict
from tests.insight.methods.coloured_squares import squares, squares_bank
from tests.insight.tiny_clip import tiny_clip


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


@pytest.mark.parametrize("local", [False, True], ids=["image", "image-and-patches"])
def test_loss_and_logits_are_those_of_logistic_regression(clip: Backbone, local: bool) -> None:
    random = torch.Generator().manual_seed(0)
    probe = LinearProbe(clip, squares_bank(), ProbeSettings(local=local))
    assert not any(value.any() for value in probe.trained().values())
    with torch.no_grad():
        for value in probe.trained().values():
            value.copy_(torch.randn(value.shape, generator=random))
    kept, labels = torch.randn(5, 2, 24, generator=random), torch.tensor([0, 2, 1, 1, 0])
    pooled, patches = kept.double().numpy().transpose(1, 0, 2)
    read = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    read = np.concatenate([read, patches], 1) if local else read
    weight, bias = (value.detach().double().numpy() for value in probe.trained().values())
    logits = read @ weight.T + bias
    loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(5), labels])
    np.testing.assert_allclose(probe.decide(kept).logits.detach(), logits, rtol=1e-4, atol=1e-5)
    assert float(probe.losses(Batch(kept, labels, None, random))["classes"].detach()) == pytest.approx(loss, rel=1e-5)


def test_it_learns_colours_and_comes_back_from_its_file(clip: Backbone, tmp_path: Path) -> None:
    probe = LinearProbe(clip, squares_bank())
    assert {*probe.trained()} == {"linear.weight", "linear.bias"}
    history = fit(probe, squares(60), FitConfig(epochs=60, lr=0.1, clip=10.0), progress=False)
    assert history[0]["classes"] > history[-1]["classes"]
    photos, logits = predict(probe, squares(60, seed=1), progress=False)
    assert float((logits.argmax(1) == photos.labels).float().mean()) > 0.8
    save_method(probe, tmp_path)
    again = load_method(tmp_path, backbone=clip)
    assert torch.equal(predict(again, photos, progress=False)[1], logits)
    assert again.fingerprint == probe.fingerprint
