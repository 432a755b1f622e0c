"""Ecor: its probabilities are those of the whole table, which it never has; its losses, and what training does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.attribution import scorer_of
from insight.attribution.grad_cam import GradCAM
from insight.backbones import Backbone
from insight.methods import Batch
from insight.methods.bank import ConceptBank
from insight.methods.ecor import Ecor, EcorSettings
from insight.methods.files import load_method, save_method
from insight.methods.pairs import PairTexts, pair_scores
from insight.methods.training import FitConfig, fit
from insight.methods.training.fit import predict
from sae.errors import InsightError
from tests.insight.methods.coloured_squares import squares, squares_bank
from tests.insight.methods.pair_tables import OF_CLASS, RATIONALES, Table, ask, batch_of, log_sum, pairs_bank
from tests.insight.tiny_clip import tiny_clip

ORDERS = ("r->c", "c->r", "independent")


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


@pytest.fixture(scope="module")
def pooled() -> Tensor:
    return torch.randn(5, 24, generator=torch.Generator().manual_seed(0))


def frozen(clip: Backbone, order: str, **settings: int) -> Ecor:
    return Ecor(clip, pairs_bank(), EcorSettings(adapter="none", order=order, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ORDERS)
def test_marginals_and_best_pairs_are_those_of_the_whole_table(clip: Backbone, pooled: Tensor, order: str) -> None:
    out, joint = ask(frozen(clip, order), pooled), Table(clip, pooled).joint(order)
    assert out.concept_scores is not None
    np.testing.assert_allclose(out.logits, log_sum(joint, 2), rtol=1e-6)
    np.testing.assert_allclose(out.concept_scores, log_sum(joint, 1), rtol=1e-6)
    np.testing.assert_allclose(out.extras["missing_mass"], 0, atol=1e-9)
    best = np.argsort(-joint.reshape(5, -1), axis=1)[:, :10]
    np.testing.assert_array_equal(out.extras["joint_pairs"], np.stack([best // 6, best % 6], 2))
    np.testing.assert_allclose(out.extras["joint_log_p"], np.take_along_axis(joint.reshape(5, -1), best, 1), rtol=1e-6)


@pytest.mark.parametrize(("order", "kept"), [("r->c", 2), ("c->r", 1)])
def test_only_the_best_first_choices_are_followed(clip: Backbone, pooled: Tensor, order: str, kept: int) -> None:
    out, table = ask(frozen(clip, order, kept=kept), pooled), Table(clip, pooled)
    joint = table.joint(order)
    first, axis = (table.rationales, 2) if order == "r->c" else (table.classes, 1)
    left = np.argsort(-first, axis=1)[:, kept:]
    for photo, gone in enumerate(left):
        joint[(photo, slice(None), gone) if order == "r->c" else (photo, gone)] = -np.inf
    exact, second = (out.concept_scores, out.logits) if order == "r->c" else (out.logits, out.concept_scores)
    assert exact is not None
    assert second is not None
    np.testing.assert_allclose(exact, first, rtol=1e-6)
    np.testing.assert_allclose(second, log_sum(joint, axis), rtol=1e-6)
    missing = np.exp(np.take_along_axis(first, left, 1)).sum(1)
    np.testing.assert_allclose(out.extras["missing_mass"], missing, atol=1e-9)
    np.testing.assert_allclose(second.exp().sum(1), 1 - missing, rtol=1e-6)
    top = joint.reshape(5, -1).argmax(1)
    np.testing.assert_array_equal(out.extras["joint_pairs"][:, 0], np.stack([top // 6, top % 6], 1))


@pytest.mark.parametrize("order", ["r->c", "c->r"])
def test_what_is_encoded_anew_is_what_was_kept(clip: Backbone, pooled: Tensor, order: str) -> None:
    keeping, streaming = frozen(clip, order), frozen(clip, order, room_mb=0)
    batch = batch_of(pooled, [0, 1, 2, 1, 0], None)
    for _ in range(2):  # the second time from what is kept
        one, other = ask(keeping, pooled), ask(streaming, pooled)
        torch.testing.assert_close(one.logits, other.logits, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(one.concept_scores, other.concept_scores, rtol=1e-6, atol=1e-6)
        for term, value in keeping.losses(batch).items():
            torch.testing.assert_close(streaming.losses(batch)[term], value, rtol=1e-6, atol=1e-6)


def test_no_more_is_kept_or_encoded_at_once_than_there_is_room_for(clip: Backbone) -> None:
    bank = ConceptBank.of({f"thing {c}": [f"mark {c} {r}" for r in range(30)] for c in range(20)})  # 20 * 600 pairs
    row = 20 * 24 * 4
    calls: list[int] = []

    class Counted(type(clip)):  # type: ignore[misc]
        def encode_text(self, texts: list[str]) -> Tensor:
            calls.append(len(texts))
            return torch.nn.functional.normalize(torch.tensor([[len(t) + i for i in range(24)] for t in texts]).float())

    counted = object.__new__(Counted)
    counted.__dict__ = clip.__dict__
    texts = PairTexts(bank, "rationale", 100 * row + 7)
    unit = torch.nn.functional.normalize(torch.randn(600, 24, generator=torch.Generator().manual_seed(1)))
    scores = pair_scores(unit, torch.arange(600), texts, counted, 10.0)
    assert scores.shape == (600, 20)
    assert sum(calls) == 12_000
    assert max(calls) <= 1024
    assert texts.bytes_kept == 100 * row
    pair_scores(unit, torch.arange(600), texts, counted, 10.0)
    assert sum(calls) == 2 * 12_000 - 2_000


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "right", [[[4], [3], [5], [2], [1]], [[0, 1, 5], [2, 4], [5], [], [0]], None], ids=["one", "several", "unknown"]
)
def test_losses_are_minus_the_log_of_the_right_pairs(
    clip: Backbone, pooled: Tensor, order: str, right: list[list[int]] | None
) -> None:
    labels = [0, 1, 2, 1, 0]
    terms = frozen(clip, order).losses(batch_of(pooled, labels, right))
    table = Table(clip, pooled)
    joint = table.joint(order)
    wanted, of_first = 0.0, 0.0
    for photo, label in enumerate(labels):
        own = (right[photo] if right else None) or [*OF_CLASS[label]]
        wanted -= np.log(np.exp(joint[photo, label, own]).sum()) / 5
        of_first -= np.log(np.exp(table.rationales[photo, own]).sum()) / 5
    assert float(sum(terms.values())) == pytest.approx(wanted, rel=1e-6)
    assert {*terms} == {"rationale", "class"}
    if order == "c->r":
        assert float(terms["class"]) == pytest.approx(-table.classes[range(5), labels].mean(), rel=1e-6)
    else:
        assert float(terms["rationale"]) == pytest.approx(of_first, rel=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_are_those_of_finite_differences(clip: Backbone, pooled: Tensor, order: str) -> None:
    method = frozen(clip, order, kept=2, room_mb=0)
    weights = torch.randn(3, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(pooled: Tensor) -> Tensor:
        terms = method.losses(batch_of(pooled, [0, 1, 2], [[0, 2], [4], [5]]))
        return terms["rationale"] + 2 * terms["class"]

    def read(pooled: Tensor) -> Tensor:
        out = ask(method, pooled)
        assert out.concept_scores is not None
        return (torch.cat([out.logits, out.concept_scores], 1) * weights).sum()

    photos = pooled[:3].double().requires_grad_()
    assert torch.autograd.gradcheck(loss, (photos,), rtol=1e-4, fast_mode=True)
    assert torch.autograd.gradcheck(read, (photos,), rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("order", ORDERS)
def test_texts_are_scored_by_their_log_probability(clip: Backbone, order: str) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    method = frozen(clip, order)
    out = method(images)
    for texts in (["cat", "kit fox"], ["whiskers", "large ears"], ["four legs", "robin"]):
        scorer = scorer_of(method, texts)
        columns = [method.classes.index(t) if t in method.classes else 3 + RATIONALES.index(t) for t in texts]
        wanted = torch.cat([out.logits, out.concept_scores], 1)[:, columns]
        torch.testing.assert_close(scorer(images), wanted)
        if scorer.vectors is not None:
            cosines = torch.nn.functional.normalize(method.backbone.encode_image(images).pooled, dim=1)
            difference = method.scale * cosines @ scorer.vectors.T - wanted
            torch.testing.assert_close(difference[:, 0], difference[:, 1], rtol=1e-4, atol=1e-4)
    with pytest.raises(InsightError, match="classes and rationales of its bank, found 'a dog'"):
        method.scorer(["a dog"])


@pytest.mark.parametrize("adapter", ["tokens", "lora", "blocks"])
def test_training_raises_the_right_pairs_and_the_file_holds_what_was_trained(
    clip: Backbone, tmp_path: Path, adapter: str
) -> None:
    method = Ecor(clip, squares_bank(), EcorSettings(adapter=adapter, rank=2))  # type: ignore[arg-type]
    photos = squares(24)
    history = fit(method, photos, FitConfig(epochs=4, batch_size=8, lr=0.03), progress=False)
    first, last = (sum(history[at].values()) for at in (0, -1))
    assert last < first - 0.1
    photos, logits = predict(method, photos, progress=False)
    save_method(method, tmp_path)
    again = load_method(tmp_path, backbone=clip)
    assert torch.equal(predict(again, photos, progress=False)[1], logits)
    assert again.fingerprint == method.fingerprint
    values = sum(value.numel() for value in method.trained().values())
    if adapter == "tokens":
        assert values == 3 * 48
    if adapter == "lora":
        assert values == 2 * 2 * (2 * (48 + 192))  # blocks, layers of each, rank * (in + out)
    assert (tmp_path / "method.safetensors").stat().st_size < 4 * values + 8_000
    maps = GradCAM()(again, torch.rand(1, 3, 64, 64), ["red square", "four corners"])
    assert maps.shape == (1, 2, 64, 64)


def test_gradients_reach_every_trained_parameter(clip: Backbone) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for adapter in ("tokens", "lora", "blocks"):
        method = Ecor(clip, pairs_bank(), EcorSettings(adapter=adapter))  # type: ignore[arg-type]
        with torch.no_grad():
            for name, value in method.trained().items():
                if "lora_B" in name:
                    value.fill_(0.01)
        batch = Batch(method.tower.keep(images), torch.tensor([0, 2]), None, torch.Generator())
        torch.stack([*method.losses(batch).values()]).sum().backward()
        assert all(value.grad is not None and bool(value.grad.any()) for value in method.trained().values())
        (parameters, share), *others = method.parameter_groups()
        assert not others
        assert len(parameters) == len(method.trained())
        assert share == {"tokens": 1.0, "lora": 0.1, "blocks": 0.01}[adapter]


def test_zero_shot_has_nothing_to_train(clip: Backbone, tmp_path: Path) -> None:
    method = Ecor(clip, squares_bank(), EcorSettings(adapter="none"))
    assert method(torch.rand(1, 3, 64, 64)).logits.shape == (1, 3)
    with pytest.raises(InsightError, match="nothing to train"):
        fit(method, squares(6), progress=False)
    save_method(method, tmp_path)
    assert load_method(tmp_path, backbone=clip).fingerprint == method.fingerprint


def test_banks_and_settings_that_do_not_fit_are_refused(clip: Backbone) -> None:
    with pytest.raises(InsightError, match="'dog'"):
        Ecor(clip, ConceptBank.of({"cat": ["whiskers"], "dog": []}))
    with pytest.raises(InsightError, match="at most 32 tokens"):
        Ecor(clip, ConceptBank.of({"cat": ["a very " * 20 + "long tail"]}))
    wrong = {
        "order": "both",
        "kept": 0,
        "adapter": "all",
        "tokens": 0,
        "rank": 0,
        "blocks": 0,
        "alpha": 0,
        "room_mb": -1,
    }
    for name, value in wrong.items():
        with pytest.raises(InsightError, match=f"{name}: expected"):
            EcorSettings(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(InsightError, match="has 4, found 5"):
        Ecor(clip, pairs_bank(), EcorSettings(adapter="lora", blocks=5))
