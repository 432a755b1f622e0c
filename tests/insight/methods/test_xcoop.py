"""XCoOp: prompts that stay different, held to concepts; each loss against its formula in float64."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.attribution import scorer_of
from insight.backbones import Backbone
from insight.methods import Batch
from insight.methods.bank import ConceptBank
from insight.methods.files import load_method, save_method
from insight.methods.training import FitConfig, fit
from insight.methods.training.fit import predict
from insight.methods.xcoop import XCoOp, XCoOpSettings
from sae.errors import InsightError
from tests.insight.methods.coloured_squares import CONCEPTS, squares, squares_bank
from tests.insight.tiny_clip import tiny_clip

NAMES = ("red square", "green square", "blue square")
HARD = XCoOpSettings(pairing="hard", noise=0.0)
CONCEPT = XCoOpSettings(noise=0.0)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


def moved(method: XCoOp, seed: int = 1) -> XCoOp:
    """With contexts that are not those it starts with."""
    contexts = method.prompts.contexts
    with torch.no_grad():
        noise = torch.randn(contexts.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        contexts.add_(noise.to(contexts), alpha=0.3)
    return method


def a_batch(n: int = 5, dtype: torch.dtype = torch.float32) -> Batch:
    random = torch.Generator().manual_seed(0)
    kept = torch.randn(n, 2, 24, generator=random, dtype=torch.float64).to(dtype)
    return Batch(kept, torch.arange(n) % 3, None, random)


def float64(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: list[int]) -> float:
    most = logits.max(1, keepdims=True)
    logsum = np.log(np.exp(logits - most).sum(1)) + most[:, 0]
    return float(np.mean(logsum - logits[np.arange(len(labels)), labels]))


def words_of(backbone: Backbone, text: str) -> np.ndarray:
    """Unit vectors of a text's tokens, start and end among them."""
    tokens = backbone.text_tower.tokens([text])
    return unit(float64(backbone.text_tower.embed(tokens)[0]))


def losses(method: XCoOp, batch: Batch) -> Mapping[str, float]:
    return {name: float(value.detach()) for name, value in method.losses(batch).items()}


@pytest.mark.parametrize("n_prompts", [1, 3])
def test_logits_are_mean_cosines_of_the_photo_and_of_its_patches(clip: Backbone, n_prompts: int) -> None:
    settings = XCoOpSettings(n_prompts=n_prompts, local_weight=0.4)
    method = moved(XCoOp(clip, squares_bank(), settings))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    features = clip.encode_image(images)
    pooled, patches, prompts = float64(features.pooled), float64(features.patches), float64(method.prompts())
    logits, local = np.zeros((2, 3)), np.zeros((2, 3))
    for b in range(2):
        for c in range(3):
            for n in range(n_prompts):
                logits[b, c] += unit(pooled[b]) @ prompts[n, c] / n_prompts
                local[b, c] += np.mean([unit(patch) @ prompts[n, c] for patch in patches[b]]) / n_prompts
    found = method(images)
    np.testing.assert_allclose(found.logits, clip.logit_scale * (logits + 0.4 * local), atol=2e-3)
    np.testing.assert_allclose(found.extras["local"], clip.logit_scale * 0.4 * local, atol=2e-3)
    weighed = logits + 0.4 * local
    loss = cross_entropy(clip.logit_scale * weighed, [2, 0])
    batch = Batch(method.tower.keep(images), torch.tensor([2, 0]), None, torch.Generator())
    assert losses(method, batch)["classes"] == pytest.approx(loss, rel=1e-3, abs=1e-4)


def test_concept_scores_are_cosines_with_every_concept_of_the_bank(clip: Backbone) -> None:
    batch = a_batch()
    concepts = ["red like a brick", "four corners", "the colour of blood"]
    concepts += ["green like grass", "blue like the sky", "the colour of water"]
    cosines = unit(float64(batch.kept[:, 0])) @ float64(clip.encode_text(concepts)).T
    found = moved(XCoOp(clip, squares_bank())).decide(batch.kept).concept_scores
    assert found is not None
    np.testing.assert_allclose(found, cosines, atol=1e-5)


def test_prompt_n_is_held_to_concept_n_and_begins_again_where_there_are_fewer(clip: Backbone) -> None:
    method = moved(XCoOp(clip, squares_bank(), CONCEPT))
    prompts, contexts = float64(method.prompts()), unit(float64(method.prompts.contexts))
    by_prompt, by_words = [], []
    for n in range(4):
        concepts = [own[n % len(own)] for own in CONCEPTS.values()]
        texts = [f"a photo of a {name}, {said}" for name, said in zip(NAMES, concepts, strict=True)]
        hard = float64(clip.encode_text(texts))
        by_prompt.append(cross_entropy(clip.logit_scale * prompts[n] @ hard.T, [0, 1, 2]))
        words = np.stack([words_of(clip, said)[1:-1].mean(0) for said in concepts])
        by_words.append(cross_entropy(clip.logit_scale * contexts[n].mean(1) @ words.T, [0, 1, 2]))
    found = losses(method, a_batch())
    assert found["prompts"] == pytest.approx(5 * np.mean(by_prompt), rel=1e-3)
    assert found["tokens"] == pytest.approx(5 * np.mean(by_words), rel=1e-3)


def test_as_published_the_mean_prompt_is_held_to_a_text_with_all_concepts() -> None:
    clip = tiny_clip().double()  # the token loss is so small that only float64 tells its value
    concepts = {"boat": ["oars"], "long blue and very wide boat": ["no sail", "foam"], "red square": ["four corners"]}
    method = moved(XCoOp(clip, ConceptBank.of(concepts), HARD))
    prompts = float64(method.prompts())
    texts = [f"a photo of a {name}, {', '.join(own)}" for name, own in concepts.items()]
    logits = clip.logit_scale * unit(prompts.mean(0)) @ float64(clip.encode_text(texts)).T
    hard, contexts = [words_of(clip, text) for text in texts], float64(method.prompts.contexts)
    soft_words = [words_of(clip, f"X X X X {name}.") for name in concepts]
    by_place = np.zeros((3, 3))
    for c in range(3):
        for other in range(3):
            for n in range(4):
                soft = np.concatenate([soft_words[c][:1], unit(contexts[n, c]), soft_words[c][5:]])
                by_place[c, other] += sum(a @ b for a, b in zip(soft, hard[other], strict=False)) / 4
    found = losses(method, a_batch(dtype=torch.float64))
    assert found["prompts"] == pytest.approx(5 * cross_entropy(logits, [0, 1, 2]), rel=1e-6)
    assert found["tokens"] == pytest.approx(5 * cross_entropy(clip.logit_scale * by_place, [0, 1, 2]), rel=1e-6)


def test_the_published_token_loss_does_not_reach_the_contexts(clip: Backbone) -> None:
    """All hard prompts begin in "a photo of a", so that the softmax over them does not see the contexts' places."""

    def gradient(settings: XCoOpSettings) -> float:
        method = moved(XCoOp(clip, squares_bank(), settings))
        found = torch.autograd.grad(method.losses(a_batch())["tokens"], method.prompts.contexts)[0]
        return float(found.abs().max())

    assert gradient(HARD) < 1e-4
    assert gradient(CONCEPT) > 0.1


@pytest.mark.parametrize("pairing", ["concepts", "hard"])
@pytest.mark.parametrize("term", ["classes", "prompts", "tokens"])
def test_gradients_are_those_of_finite_differences(pairing: str, term: str) -> None:
    method = moved(XCoOp(tiny_clip().double(), squares_bank(), XCoOpSettings(noise=0.0, pairing=pairing)))  # type: ignore[arg-type]
    contexts, batch = method.prompts.contexts, a_batch(dtype=torch.float64)
    (gradient,) = torch.autograd.grad(method.losses(batch)[term], contexts)
    step = 1e-6 * torch.randn(contexts.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        contexts.add_(step)
        after = method.losses(batch)[term]
        contexts.sub_(2 * step)
        change = after - method.losses(batch)[term]
    torch.testing.assert_close(2 * (gradient * step).sum(), change, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("pairing", ["concepts", "hard"])
def test_prompts_stay_different_where_equal_starts_stay_equal(clip: Backbone, pairing: str) -> None:
    settings = XCoOpSettings(pairing=pairing)  # type: ignore[arg-type]

    def spread(method: XCoOp) -> float:
        fit(method, squares(6), FitConfig(epochs=10, lr=0.02), progress=False)
        prompts = method.prompts.fixed().flatten(1)
        return float((prompts[:, None] - prompts).norm(dim=2)[~torch.eye(4, dtype=torch.bool)].min())

    assert spread(XCoOp(clip, squares_bank(), settings)) > 0.1
    as_published = XCoOp(clip, squares_bank(), settings)
    with torch.no_grad():
        as_published.prompts.contexts.copy_(as_published.prompts.contexts[:1].clone())
    equal = spread(as_published)
    # one concept a prompt would tell even equal starts apart; the first and the fourth have one for the red squares
    assert equal > 0.1 if pairing == "concepts" else equal == 0.0


def test_hard_vectors_are_noisy_in_half_the_steps_by_the_seed(clip: Backbone) -> None:
    noisy, clean = (XCoOp(clip, squares_bank(), XCoOpSettings(noise=noise)) for noise in (0.05, 0.0))
    batch = a_batch()

    def prompt_loss(method: XCoOp, seed: int) -> float:
        random = torch.Generator().manual_seed(seed)
        return losses(method, Batch(batch.kept, batch.labels, None, random))["prompts"]

    plain = prompt_loss(clean, 0)
    found = [prompt_loss(noisy, seed) for seed in range(40)]
    assert [prompt_loss(noisy, seed) for seed in range(3)] == found[:3]
    assert 10 <= sum(loss != plain for loss in found) <= 30


@pytest.mark.parametrize("train_norms", [False, True], ids=["frozen", "norms"])
def test_it_learns_colours_and_only_contexts_and_norms_change(
    clip: Backbone, train_norms: bool, tmp_path: Path
) -> None:
    method = XCoOp(clip, squares_bank(), XCoOpSettings(n_prompts=2, train_norms=train_norms))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    photos, untrained = predict(method, squares(60, seed=1), progress=False)
    history = fit(method, squares(60), FitConfig(epochs=15, batch_size=30, lr=0.05), progress=False)
    assert all(history[-1][term] < 0.7 * history[0][term] for term in ("classes", "prompts", "tokens"))
    logits = predict(method, photos, progress=False)[1]
    zero_shot, tuned = ((found.argmax(1) == photos.labels).float().mean() for found in (untrained, logits))
    assert tuned > float(zero_shot) + 0.2
    norms = {
        f"tower.backbone.model.visual.transformer.resblocks.{block}.{norm}.{part}"
        for block in range(4)
        for norm in ("ln_1", "ln_2")
        for part in ("weight", "bias")
    }
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {*method.trained()} == {"prompts.contexts", *(norms if train_norms else ())}
    groups = [(len(parameters), share) for parameters, share in method.parameter_groups()]
    assert groups == [(1, 1.0), (16, 0.1)][: 1 + train_norms]
    save_method(method, tmp_path)
    again = load_method(tmp_path, backbone=clip)
    assert torch.equal(predict(again, photos, progress=False)[1], logits)
    assert again.settings == method.settings


def test_explainers_get_the_mean_of_the_prompts(clip: Backbone) -> None:
    method = moved(XCoOp(clip, squares_bank()))
    scorer = scorer_of(method, ["blue square", "red square"])
    assert scorer.vectors is not None
    np.testing.assert_allclose(scorer.vectors, unit(float64(method.prompts()).mean(0))[[2, 0]], atol=1e-5)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scorer(images), method(images).logits[:, [2, 0]])


def test_wrong_shuffled_and_random_concepts_are_taken_too_and_change_what_is_learnt(clip: Backbone) -> None:
    bank = squares_bank()
    words = [f"thing number {number}" for number in range(9)]
    banks = [bank, bank.shuffled(0), bank.random_words(words, 0), bank.first(1)]
    contexts = []
    for other in banks:
        method = XCoOp(clip, other, CONCEPT)
        fit(method, squares(6), FitConfig(epochs=2, lr=0.01), progress=False)
        contexts.append(method.prompts.contexts.detach().flatten())
    assert torch.pdist(torch.stack(contexts)).min() > 0.01


def test_names_with_slashes_and_underscores_are_classes(clip: Backbone, tmp_path: Path) -> None:
    method = XCoOp(clip, ConceptBank.of({"n/a_b": ["up/down"], "x": ["1_2"]}))
    assert method.classes == ("n/a b", "x")
    save_method(method, tmp_path)
    assert load_method(tmp_path, backbone=clip).fingerprint == method.fingerprint


def test_what_cannot_be_is_said(clip: Backbone) -> None:
    with pytest.raises(InsightError, match="expected at least 1 descriptor for every class, found too few for 'b'"):
        XCoOp(clip, ConceptBank.of({"a": ["red"], "b": []}))
    long = ConceptBank.of({"a": ["red " * 12, "blue " * 12, "green " * 12], "b": ["red"]})
    XCoOp(clip, long)
    with pytest.raises(InsightError, match="expected prompts of at most 32 tokens, found 1 longer"):
        XCoOp(clip, long, HARD)
    with pytest.raises(InsightError, match=r"^xcoop: expected noise of 0 or more, found -1$"):
        XCoOpSettings(noise=-1)
    with pytest.raises(InsightError, match='expected pairing "concepts" or "hard", found \'soft\''):
        XCoOpSettings(pairing="soft")  # type: ignore[arg-type]
    one = XCoOp(clip, ConceptBank.of({"red_square": ["red"]}))
    with pytest.raises(InsightError, match="expected photos of at least two classes"):
        fit(one, squares(6).at([0, 3]), progress=False)
