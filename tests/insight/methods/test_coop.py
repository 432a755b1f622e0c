"""CoOp: softmax over cosines with learnt prompts; only the contexts are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from insight.attribution import scorer_of
from insight.backbones import Backbone
from insight.methods import Batch
from insight.methods.bank import ConceptBank
from insight.methods.coop import CoOp, CoOpSettings
from insight.methods.files import load_method, save_method
from insight.methods.training import FitConfig, fit
from insight.methods.training.fit import predict
from sae.errors import InsightError
from tests.insight.methods.coloured_squares import squares, squares_bank
from tests.insight.tiny_clip import tiny_clip

SPECIFIC = CoOpSettings(class_specific=True)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


def test_before_training_it_is_zero_shot_clip(clip: Backbone) -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    pooled = clip.encode_image(images).pooled.detach().double().numpy()
    texts = clip.encode_text([f"a photo of a {name}." for name in ("red square", "green square", "blue square")])
    cosines = pooled / np.linalg.norm(pooled, axis=1, keepdims=True) @ texts.double().numpy().T
    found = CoOp(clip, squares_bank())(images).logits
    np.testing.assert_allclose(found, clip.logit_scale * cosines, atol=1e-3)


def test_the_loss_is_the_cross_entropy_of_the_logits(clip: Backbone) -> None:
    random = torch.Generator().manual_seed(0)
    method = CoOp(clip, squares_bank(), SPECIFIC)
    with torch.no_grad():
        method.prompts.contexts.add_(torch.randn(method.prompts.contexts.shape, generator=random))
    kept, labels = torch.randn(5, 2, 24, generator=random), torch.tensor([0, 2, 1, 1, 0])
    pooled = kept[:, 0].double().numpy()
    prompts = method.prompts()[0].detach().double().numpy()
    logits = clip.logit_scale * (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)) @ prompts.T
    most = logits.max(1)
    loss = np.mean(most + np.log(np.exp(logits - most[:, None]).sum(1)) - logits[np.arange(5), labels])
    assert float(method.losses(Batch(kept, labels, None, random))["classes"].detach()) == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(method.decide(kept).logits, logits, atol=1e-3)


def test_the_gradient_is_that_of_finite_differences() -> None:
    method = CoOp(tiny_clip().double(), squares_bank(), SPECIFIC)
    random = torch.Generator().manual_seed(0)
    kept = torch.randn(4, 2, 24, generator=random, dtype=torch.float64)
    batch = Batch(kept, torch.tensor([0, 1, 2, 0]), None, random)
    contexts = method.prompts.contexts
    (gradient,) = torch.autograd.grad(method.losses(batch)["classes"], contexts)
    step = 1e-6 * torch.randn(contexts.shape, generator=random, dtype=torch.float64)
    with torch.no_grad():
        contexts.add_(step)
        after = method.losses(batch)["classes"]
        contexts.sub_(2 * step)
        change = after - method.losses(batch)["classes"]
    torch.testing.assert_close(2 * (gradient * step).sum(), change, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("specific", [False, True], ids=["shared", "class-specific"])
def test_it_learns_colours_that_zero_shot_does_not_know(clip: Backbone, specific: bool, tmp_path: Path) -> None:
    method = CoOp(clip, squares_bank(), CoOpSettings(class_specific=specific))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    photos, untrained = predict(method, squares(60, seed=1), progress=False)
    history = fit(method, squares(60), FitConfig(epochs=30, lr=0.05), progress=False)
    logits = predict(method, photos, progress=False)[1]
    assert history[-1]["classes"] < 0.7 * history[0]["classes"]
    zero_shot, tuned = ((found.argmax(1) == photos.labels).float().mean() for found in (untrained, logits))
    assert tuned > max(0.75, float(zero_shot) + 0.2)
    changed = [name for name, value in method.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == [*method.trained()] == ["prompts.contexts"]
    save_method(method, tmp_path)
    again = load_method(tmp_path, backbone=clip)
    assert torch.equal(predict(again, photos, progress=False)[1], logits)


def test_explainers_get_the_vectors_of_the_prompts(clip: Backbone) -> None:
    method = CoOp(clip, ConceptBank.of({"a_b": [], "c/d": [], "x": []}))
    scorer = scorer_of(method, ["x", "a b"])
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert scorer.vectors is not None
    torch.testing.assert_close(scorer.vectors, method.prompts()[0, [2, 0]])
    torch.testing.assert_close(scorer(images), method(images).logits[:, [2, 0]])
    images.requires_grad_()
    assert torch.autograd.grad(scorer(images).sum(), images)[0].abs().sum() > 0
    with pytest.raises(InsightError, match="coop scores its classes alone, found 'y'"):
        scorer_of(method, ["y"])


def test_a_backbone_without_texts_is_refused() -> None:
    from insight.backbones.layers import Layer

    with pytest.raises(InsightError, match="has no text tower"):
        CoOp(Layer(tiny_clip(), 2), squares_bank())
