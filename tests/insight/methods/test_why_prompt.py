"""WhyPrompt: one softmax over all pairs, read row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.attribution.m2ib import M2IB
from insight.backbones import Backbone
from insight.methods.files import load_method, save_method
from insight.methods.pairs import PairSettings
from insight.methods.training import FitConfig, fit
from insight.methods.training.fit import predict
from insight.methods.why_prompt import WhyPrompt
from tests.insight.methods.coloured_squares import squares, squares_bank
from tests.insight.methods.pair_tables import OF_CLASS, Table, ask, batch_of, log_sum, pairs_bank
from tests.insight.tiny_clip import tiny_clip


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


@pytest.fixture(scope="module")
def pooled() -> Tensor:
    return torch.randn(5, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[0, 1024], ids=["encoded-anew", "kept"])
def frozen(clip: Backbone, request: pytest.FixtureRequest) -> WhyPrompt:
    return WhyPrompt(clip, pairs_bank(), PairSettings(adapter="none", room_mb=request.param))


def test_marginals_and_best_pairs_are_those_of_the_whole_table(
    clip: Backbone, frozen: WhyPrompt, pooled: Tensor
) -> None:
    out, joint = ask(frozen, pooled), Table(clip, pooled).joint("at once")
    assert out.concept_scores is not None
    np.testing.assert_allclose(out.logits, log_sum(joint, 2), rtol=1e-6)
    np.testing.assert_allclose(out.concept_scores, log_sum(joint, 1), rtol=1e-6)
    best = np.argsort(-joint.reshape(5, -1), axis=1)[:, :10]
    np.testing.assert_array_equal(out.extras["joint_pairs"], np.stack([best // 6, best % 6], 2))
    np.testing.assert_allclose(out.extras["joint_log_p"], np.take_along_axis(joint.reshape(5, -1), best, 1), rtol=1e-6)


@pytest.mark.parametrize(
    "right", [[[4], [3], [5], [2], [1]], [[0, 1, 5], [2, 4], [5], [], [0]], None], ids=["one", "several", "unknown"]
)
def test_the_loss_is_cross_entropy_over_all_pairs(
    clip: Backbone, frozen: WhyPrompt, pooled: Tensor, right: list[list[int]] | None
) -> None:
    labels = [0, 1, 2, 1, 0]
    scores = Table(clip, pooled).pairs
    wanted = 0.0
    for photo, label in enumerate(labels):
        own = (right[photo] if right else None) or [*OF_CLASS[label]]
        wanted += (np.log(np.exp(scores[photo]).sum()) - np.log(np.exp(scores[photo, label, own]).sum())) / 5
    terms = frozen.losses(batch_of(pooled, labels, right))
    assert {*terms} == {"pairs"}
    assert float(terms["pairs"]) == pytest.approx(wanted, rel=1e-6)


def test_gradients_are_those_of_finite_differences(frozen: WhyPrompt, pooled: Tensor) -> None:
    weights = torch.randn(3, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(pooled: Tensor) -> Tensor:
        return frozen.losses(batch_of(pooled, [0, 1, 2], [[0, 2], [4], [5]]))["pairs"]

    def read(pooled: Tensor) -> Tensor:
        out = ask(frozen, pooled)
        assert out.concept_scores is not None
        return (torch.cat([out.logits, out.concept_scores], 1) * weights).sum()

    photos = pooled[:3].double().requires_grad_()
    assert torch.autograd.gradcheck(loss, (photos,), rtol=1e-4, fast_mode=True)
    assert torch.autograd.gradcheck(read, (photos,), rtol=1e-4, fast_mode=True)


def test_training_raises_the_right_pairs_and_comes_back_from_its_file(clip: Backbone, tmp_path: Path) -> None:
    method = WhyPrompt(clip, squares_bank())
    assert {*method.trained()} == {"tower.backbone.tokens"}
    history = fit(method, squares(24), FitConfig(epochs=4, batch_size=8, lr=0.03), progress=False)
    assert history[-1]["pairs"] < history[0]["pairs"] - 0.1
    photos, logits = predict(method, squares(6, seed=1), progress=False)
    save_method(method, tmp_path)
    again = load_method(tmp_path, backbone=clip)
    assert torch.equal(predict(again, photos, progress=False)[1], logits)
    assert (tmp_path / "method.safetensors").stat().st_size < 4 * 3 * 48 + 500


def test_explainers_draw_maps_of_classes_and_rationales(clip: Backbone) -> None:
    method = WhyPrompt(clip, pairs_bank())
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = M2IB(layer=1, steps=2, samples=2)(method, images, ["cat", "whiskers"])
    assert maps.shape == (1, 2, 64, 64)
    assert float(maps.std()) > 0
