"""CoCoOp: every photo moves the context by a vector of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from insight.attribution import scorer_of
from insight.backbones import Backbone
from insight.methods import Batch
from insight.methods.cocoop import CoCoOp
from insight.methods.coop import CoOp
from insight.methods.files import load_method, save_method
from insight.methods.prompts import prompt_learner
from insight.methods.training import FitConfig, fit
from insight.methods.training.fit import predict
from tests.insight.methods.coloured_squares import squares, squares_bank
from tests.insight.tiny_clip import tiny_clip


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


def moved(method: CoCoOp) -> CoCoOp:
    """With weights that are not those it starts with."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in method.trained().values():
            value.add_(torch.randn(value.shape, generator=random), alpha=0.3)
    return method


def test_before_training_it_is_coop_before_training(clip: Backbone) -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found, other = CoCoOp(clip, squares_bank())(images).logits, CoOp(clip, squares_bank())(images).logits
    torch.testing.assert_close(found, other)


@pytest.mark.parametrize("at_a_time", [256, 4], ids=["one-pass", "chunks"])
def test_photos_together_are_as_one_by_one(clip: Backbone, at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one and by the definition: logit c = scale cos(x, text encoder of [v + net(x), class c])."""
    method = moved(CoCoOp(clip, squares_bank()))
    kept = torch.randn(5, 2, 24, generator=torch.Generator().manual_seed(0))
    rows = []
    first, last = method.net[0], method.net[2]
    for pooled in kept[:, 0]:
        unit = pooled / pooled.norm()
        move = (unit @ first.weight.T + first.bias).clamp_min(0) @ last.weight.T + last.bias
        texts = [f"X X X X {name}." for name in method.classes]
        tokens = clip.text_tower.tokens(texts)
        embedded = clip.text_tower.embed(tokens)
        embedded[:, 1:5] = method.prompts.contexts[0, 0] + move
        rows.append(clip.logit_scale * clip.text_tower.encode(embedded, tokens) @ unit)
    loop = torch.stack(rows)
    assert (loop.std(0) > 0.1).all()
    monkeypatch.setattr(prompt_learner, "AT_A_TIME", at_a_time)
    torch.testing.assert_close(method.decide(kept).logits, loop, rtol=1e-4, atol=1e-3)
    labels = torch.tensor([0, 1, 2, 0, 1])
    found = method.losses(Batch(kept, labels, None, torch.Generator()))["classes"]
    loss = (loop.logsumexp(1) - loop[torch.arange(5), labels]).mean()
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-4)
    trained = method.trained()
    wanted = torch.autograd.grad(loss, [*trained.values()])
    torch.testing.assert_close(torch.autograd.grad(found, [*trained.values()]), wanted, rtol=1e-3, atol=1e-4)


def test_gradients_reach_photos_through_their_own_prompts() -> None:
    backbone = tiny_clip().double()
    method = moved(CoCoOp(backbone, squares_bank()))
    scorer = scorer_of(method, ["blue square"])
    random = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 64, generator=random, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(scorer(images).sum(), images)
    step = 1e-6 * torch.randn(images.shape, generator=random, dtype=torch.float64)
    with torch.no_grad():
        change = (scorer(images + step) - scorer(images - step)).sum()
    torch.testing.assert_close(2 * (gradient * step).sum(), change, rtol=1e-4, atol=1e-10)
    assert scorer.vectors is None


def test_it_learns_colours_and_comes_back_from_its_file(clip: Backbone, tmp_path: Path) -> None:
    method = CoCoOp(clip, squares_bank())
    assert [*method.trained()] == ["prompts.contexts", "net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    photos, untrained = predict(method, squares(60, seed=1), progress=False)
    history = fit(method, squares(60), FitConfig(epochs=12, batch_size=10, lr=0.05), progress=False)
    logits = predict(method, photos, progress=False)[1]
    assert history[-1]["classes"] < 0.7 * history[0]["classes"]
    zero_shot, tuned = ((found.argmax(1) == photos.labels).float().mean() for found in (untrained, logits))
    assert tuned > float(zero_shot) + 0.2
    save_method(method, tmp_path)
    assert torch.equal(predict(load_method(tmp_path, backbone=clip), photos, progress=False)[1], logits)
