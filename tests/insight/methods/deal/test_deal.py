"""Deal: its losses are those of the maps that explainers show, and they reach the weights, as published ones do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.attribution import scorer_of
from insight.attribution.relevance import Relevance
from insight.backbones.openclip.vit import OpenClip
from insight.methods import Batch
from insight.methods.bank import ConceptBank
from insight.methods.deal import Deal, DealSettings
from insight.methods.files import load_method, save_method
from insight.methods.training import FitConfig, fit
from sae.errors import InsightError
from tests.insight.methods.coloured_squares import squares, squares_bank
from tests.insight.tiny_clip import tiny_clip

EVERY = DealSettings(separation=0.7, consistency=0.3, sparsity=0.2, blocks=2)
NONE = DealSettings(separation=0, consistency=0, sparsity=0, blocks=2)


@pytest.fixture(scope="module")
def clip() -> OpenClip:
    return tiny_clip(seed=0)


@pytest.fixture(scope="module")
def exact() -> OpenClip:
    return tiny_clip(seed=0).double()


def batch_of(method: Deal, labels: tuple[int, ...] = (0, 1, 2, 0), seed: int = 5) -> Batch:
    random = torch.Generator().manual_seed(seed)
    photos = torch.rand(len(labels), 3, 64, 64, generator=random).to(method.backbone.colour_mean)
    return Batch(method.tower.keep(photos), torch.tensor(labels), None, random)


def explanation(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([value for name, value in losses.items() if name != "contrastive"]).sum()


def moved(method: Deal, along: dict[str, Tensor], step: float, batch: Batch) -> float:
    """The terms on maps, at weights moved by `step` along a direction."""
    trained = method.trained()
    with torch.no_grad():
        for name, direction in along.items():
            trained[name].add_(step * direction)
    value = float(explanation(method.losses(batch)).detach())
    with torch.no_grad():
        for name, direction in along.items():
            trained[name].sub_(step * direction)
    return value


@pytest.mark.parametrize(
    ("aggregate", "train_text"), [("max", False), ("sum", True)], ids=["image-tower", "both-towers"]
)
def test_gradients_of_the_terms_on_maps_equal_differences_in_every_weight(
    exact: OpenClip, aggregate: str, train_text: bool
) -> None:
    """Directional derivatives, tensor by tensor: of the last block to second order, of the ones before through it."""
    method = Deal(exact, squares_bank(), replace(EVERY, aggregate=aggregate, train_text=train_text))
    batch = batch_of(method)
    explanation(method.losses(batch)).backward()
    random, reached = torch.Generator().manual_seed(8), set()
    for name, parameter in method.trained().items():
        if ".resblocks.1." in name or ".resblocks.0." in name or "token_embedding" in name:
            continue  # of the text tower: as the others, and slow
        direction = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
        direction /= direction.norm()
        found = 0.0 if parameter.grad is None else float((parameter.grad * direction).sum())
        above, below = (moved(method, {name: direction}, step, batch) for step in (1e-6, -1e-6))
        assert found == pytest.approx((above - below) / 2e-6, rel=1e-3, abs=3e-6), name
        if abs(found) > 1e-5:
            reached.add(name)
    parts = ("attn.in_proj_weight", "out_proj.weight", "ln_1.weight", "ln_2.weight", "c_fc.weight", "c_proj.weight")
    image = "model.visual.transformer.resblocks"
    for block, part in [(block, part) for block in (2, 3) for part in parts]:
        assert any(f"{image}.{block}." in name and part in name for name in reached), (block, part)
    assert any("text_projection" in name for name in reached) == train_text


def test_the_losses_are_those_of_the_maps_that_relevance_shows(exact: OpenClip) -> None:
    """Photo by photo with its own texts, ragged as they are: loops over places. The maps by the explainer."""
    bank = squares_bank()
    method = Deal(exact, bank, replace(EVERY, aggregate="mean", concepts=2))
    batch = batch_of(method)
    totals = dict.fromkeys(("separation", "consistency", "sparsity"), 0.0)
    photos = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(5)).double()
    for photo, label in zip(photos, batch.labels.tolist(), strict=True):
        texts = [*bank.concepts_of(label)[:2], bank.classes[label]]
        maps = Relevance().maps(scorer_of(method, texts), photo[None])[0].flatten(1).detach().numpy()
        maps = (maps - maps.min(1, keepdims=True)) / (maps.max(1, keepdims=True) - maps.min(1, keepdims=True))
        first, second, of_class = maps
        totals["separation"] += 0.7 * float(sum(a * b for a, b in zip(first, second, strict=True)))
        totals["consistency"] += 0.3 * float(np.square((first + second) / 2 - of_class).sum())
        totals["sparsity"] += 0.2 * float(first.sum() + second.sum())
    losses = method.losses(batch)
    for name, total in totals.items():
        assert float(losses[name].detach()) == pytest.approx(total / 4, rel=1e-4), name


def test_training_on_the_maps_alone_parts_the_concepts(clip: OpenClip) -> None:
    method = Deal(clip, squares_bank(), replace(NONE, separation=1.0))
    start = {name: value.detach().clone() for name, value in method.trained().items()}
    batch = batch_of(method)
    optimiser = torch.optim.Adam(method.trained().values(), lr=1e-3)
    history = []
    for _ in range(12):
        loss = method.losses(batch)["separation"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.5 * history[0]
    for block in (2, 3):
        name = f"tower.backbone.model.visual.transformer.resblocks.{block}.attn.in_proj_weight"
        assert not torch.equal(method.trained()[name], start[name])


@pytest.mark.parametrize("labels", [(0, 1, 2), (1, 1, 2, 0)], ids=["different", "repeated"])
def test_the_contrastive_term_is_that_of_photos_and_their_captions(clip: OpenClip, labels: tuple[int, ...]) -> None:
    bank = squares_bank()
    captions = [
        "red square. It may contain red like a brick, four corners.",
        "green square. It may contain green like grass, four corners.",
        "blue square. It may contain blue like the sky, the colour of water.",
    ]
    for settings, said in (
        (replace(NONE, concepts=2), captions),
        (replace(EVERY, concepts=2), captions),
        (replace(NONE, captions="plain"), [f"{words}." for words in bank.classes]),
    ):
        method = Deal(clip, bank, settings)
        photos = torch.rand(len(labels), 3, 64, 64, generator=torch.Generator().manual_seed(5))
        pooled = clip.encode_image(photos).pooled.detach().double().numpy()
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        texts = clip.encode_text([said[label] for label in labels]).detach().double().numpy()
        logits = clip.logit_scale * pooled @ texts.T
        total = 0.0
        for matrix in (logits, logits.T):
            for row, label in zip(matrix, labels, strict=True):
                same = [other == label for other in labels]
                total -= float(np.mean((row - np.log(np.exp(row).sum()))[same]))
        found = float(method.losses(batch_of(method, labels))["contrastive"].detach())
        assert found == pytest.approx(total / (2 * len(labels)), rel=1e-4)


def test_maps_and_image_vectors_come_from_one_pass_which_gives_the_same_gradients(exact: OpenClip) -> None:
    found = []
    for settings in (EVERY, NONE):
        method = Deal(exact, squares_bank(), settings)
        passes: list[int] = []
        last = method.backbone.blocks[-1].ln_1.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        loss = method.losses(batch_of(method))["contrastive"]
        assert len(passes) == 1
        last.remove()
        loss.backward()
        found.append({name: value.grad for name, value in method.trained().items()})
    assert float(found[1]["tower.backbone.model.visual.transformer.resblocks.2.mlp.c_fc.weight"].abs().max()) > 1e-4
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-6, atol=1e-10)


def test_terms_of_weight_zero_are_not_there_and_without_any_no_attention_is_asked_for(
    clip: OpenClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Deal(clip, squares_bank(), replace(NONE, consistency=0.5))
    assert {*method.losses(batch_of(method))} == {"contrastive", "consistency"}
    plain = Deal(clip, squares_bank(), NONE)
    finish, asked = plain.backbone.finish, []

    def watched(*args, need_attention: bool = False, **rest):  # type: ignore[no-untyped-def]
        asked.append(need_attention)
        return finish(*args, need_attention=need_attention, **rest)

    monkeypatch.setattr(plain.backbone, "finish", watched)
    assert {*plain.losses(batch_of(plain))} == {"contrastive"}
    assert asked == [False]


def test_the_output_compares_photos_with_class_prompts_concepts_and_descriptions(clip: OpenClip) -> None:
    bank = squares_bank()
    method = Deal(clip, bank, replace(EVERY, concepts=2))
    photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(9))
    output = method(photos)
    unit = clip.encode_image(photos).pooled.detach().double().numpy()
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)

    def cosines(texts: list[str]) -> np.ndarray:
        return unit @ clip.encode_text(texts).detach().double().numpy().T

    prompts = ["a photo of a red square", "a photo of a green square", "a photo of a blue square"]
    described = [
        ["red square, which is red like a brick", "red square, which has four corners"],
        ["green square, which is green like grass", "green square, which has four corners"],
        ["blue square, which is blue like the sky", "blue square, which has the colour of water"],
    ]
    scale, scores = clip.logit_scale, output.concept_scores
    assert scores is not None
    np.testing.assert_allclose(output.logits.detach(), scale * cosines(prompts), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores.detach(), cosines(list(bank.concepts)), rtol=1e-3, atol=1e-5)
    wanted = np.stack([scale * cosines(texts).mean(1) for texts in described], axis=1)
    np.testing.assert_allclose(output.extras["concept_logits"].detach(), wanted, rtol=1e-3, atol=1e-4)


def test_descriptions_of_a_class_with_few_concepts_are_not_padded(clip: OpenClip) -> None:
    bank = ConceptBank.of({"cat": ["whiskers", "a tail", "paws"], "car": ["wheels"]})
    method = Deal(clip, bank, EVERY)
    photos = torch.rand(2, 3, 64, 64)
    (one,) = clip.encode_text(["car, which has wheels"]).detach()
    unit = torch.nn.functional.normalize(clip.encode_image(photos).pooled, dim=1)
    found = method(photos).extras["concept_logits"][:, 1]
    torch.testing.assert_close(found, clip.logit_scale * unit @ one, rtol=1e-4, atol=1e-4)


def test_explainers_may_ask_it_for_any_text(clip: OpenClip) -> None:
    method = Deal(clip, squares_bank(), EVERY)
    optimiser = torch.optim.SGD(method.trained().values(), lr=0.05)
    torch.stack([*method.losses(batch_of(method)).values()]).sum().backward()
    optimiser.step()
    photos, texts = torch.rand(2, 3, 64, 64), ["red square", "four corners", "something else"]
    unit = torch.nn.functional.normalize(method.backbone.encode_image(photos).pooled, dim=1)
    scores = scorer_of(method, texts)(photos)
    torch.testing.assert_close(scores, unit @ clip.encode_text(texts).T)
    assert not torch.allclose(scores, scorer_of(clip, texts)(photos), atol=1e-4)


def test_what_is_trained_is_what_was_asked_for(clip: OpenClip) -> None:
    def names(settings: DealSettings) -> set[str]:
        found = Deal(clip, squares_bank(), settings).trained()
        return {name.removeprefix("tower.backbone.model.") for name in found}

    every_block, last = names(replace(EVERY, blocks=None)), names(replace(EVERY, blocks=1))
    assert {name.split(".")[3] for name in every_block} == {"0", "1", "2", "3"}
    assert last == {name for name in every_block if name.startswith("visual.transformer.resblocks.3.")}
    text = names(replace(EVERY, blocks=1, train_text=True)) - last
    whole = dict(clip.model.named_parameters())
    assert text == {name for name in whole if not name.startswith(("visual.", "logit_"))}
    assert not any(parameter.requires_grad for parameter in clip.parameters())


def test_it_learns_colours(clip: OpenClip) -> None:
    method = Deal(clip, squares_bank(), DealSettings(0.01, 0.01, 0.01, captions="plain"))
    config = FitConfig(epochs=8, batch_size=10, lr=5e-3, clip=5.0)
    history = fit(method, squares(30), config, progress=False)
    assert {*history[0]} == {"contrastive", "separation", "consistency", "sparsity"}
    photos = squares(30, seed=1)
    scores = scorer_of(method, ["red square.", "green square.", "blue square."])  # what it learnt from
    found = scores(torch.stack([clip.transform(load()) for load in photos.load])).argmax(1)
    assert float((found == photos.labels).float().mean()) > 0.8


@pytest.mark.parametrize("train_text", [False, True], ids=["image-tower", "both-towers"])
def test_it_comes_back_from_its_file_as_it_is_after_training(clip: OpenClip, tmp_path: Path, train_text: bool) -> None:
    """Vectors of texts, too, are those of the text tower as it is then, though they were asked for before."""
    method = Deal(clip, squares_bank(), replace(EVERY, train_text=train_text))
    photos = torch.rand(2, 3, 64, 64)
    before = method(photos)
    fit(method, squares(6), FitConfig(epochs=1, batch_size=6, lr=0.01), progress=False)
    output = method(photos)
    now = scorer_of(method, method.bank.concepts)(photos)
    torch.testing.assert_close(output.concept_scores, now, rtol=1e-4, atol=1e-5)
    save_method(method, tmp_path)
    again = load_method(tmp_path, backbone=clip)
    assert isinstance(again, Deal)
    assert (again.settings, again.bank, again.fingerprint) == (method.settings, method.bank, method.fingerprint)
    for one, other, earlier in (
        (again(photos).logits, output.logits, before.logits),
        (again(photos).concept_scores, output.concept_scores, before.concept_scores),
        (again(photos).extras["concept_logits"], output.extras["concept_logits"], before.extras["concept_logits"]),
    ):
        assert one is not None
        assert torch.equal(one, other)
        assert not torch.equal(one, earlier)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"separation": -0.1}, "separation must be at least 0, found -0.1"),
        ({"consistency": float("nan")}, "consistency must be at least 0, found nan"),
        ({"concepts": 0}, "concepts must be at least 1, found 0"),
        ({"aggregate": "min"}, "aggregate must be one of max, mean, sum, found 'min'"),
        ({"captions": "long"}, "captions must be one of rich, plain, found 'long'"),
        ({"blocks": 0}, "blocks must be from 1 to the 4 of backbone .*, found 0"),
        ({"blocks": 5}, "blocks must be from 1 to the 4 of backbone .*, found 5"),
    ],
    ids=["separation", "consistency", "concepts", "aggregate", "captions", "no-block", "too-many-blocks"],
)
def test_settings_that_cannot_be_are_refused(clip: OpenClip, change: dict[str, object], match: str) -> None:
    with pytest.raises(InsightError, match=match):
        Deal(clip, squares_bank(), replace(EVERY, **change))


def test_classes_without_concepts_and_texts_too_long_for_the_tower_are_refused(clip: OpenClip) -> None:
    with pytest.raises(InsightError, match="at least 1 descriptor for every class"):
        Deal(clip, ConceptBank.of({"cat": ["a tail"], "car": []}), EVERY)
    long = ConceptBank.of({"cat": [f"thing number {number} of a cat" for number in range(6)], "car": ["wheels"]})
    with pytest.raises(InsightError, match="at most 32 tokens"):
        Deal(clip, long, EVERY)
    Deal(clip, long, replace(EVERY, captions="plain"))
