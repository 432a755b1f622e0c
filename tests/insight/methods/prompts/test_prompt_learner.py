"""Learnt prompts: they begin as the words they say, in the right places, and only contexts are learnt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from insight.backbones import Backbone
from insight.methods.prompts import PromptLearner, prompt_learner, with_placeholders
from sae.errors import InsightError
from tests.insight.tiny_clip import tiny_clip

CLASSES = ("cat", "fire truck", "x ray", "3/4 view of an antidisestablishmentarian")


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


def words_of(backbone: Backbone, text: str) -> Tensor:
    """The vectors of the text's tokens."""
    tokens = backbone.text_tower.tokens([text])
    return backbone.text_tower.embed(tokens)[0, 1 : int(tokens.end[0])]


def test_a_prompt_that_starts_from_words_is_the_text_with_these_words(clip: Backbone) -> None:
    found = PromptLearner(clip.text_tower, CLASSES)()
    texts = clip.encode_text([f"a photo of a {name}." for name in CLASSES])
    torch.testing.assert_close(found[0], texts, atol=1e-6, rtol=0)


def test_contexts_that_are_set_to_other_words_say_these(clip: Backbone) -> None:
    learner = PromptLearner(clip.text_tower, CLASSES, n_ctx=5)
    with torch.no_grad():
        learner.contexts[0, 0] = words_of(clip, "an old etching of one")
    texts = clip.encode_text([f"an old etching of one {name}." for name in CLASSES])
    torch.testing.assert_close(learner()[0], texts, atol=1e-6, rtol=0)


def test_the_words_stand_right_before_the_class_and_free_places_are_noise(clip: Backbone) -> None:
    learner = PromptLearner(clip.text_tower, CLASSES, n_ctx=6, n_prompts=2)
    words = words_of(clip, "a photo of a")
    assert torch.equal(learner.contexts[0, 0, 2:], words)
    assert 0.5 < float(learner.contexts.detach()[0, 0, :2].std() / words.std()) < 1.5


def test_prompts_start_at_different_places_by_the_seed(clip: Backbone) -> None:
    def start(seed: int) -> Tensor:
        return PromptLearner(clip.text_tower, CLASSES, n_prompts=3, shared=False, seed=seed).contexts.detach()

    contexts = start(0)
    assert contexts.shape == (3, 4, 4, 32)
    assert torch.pdist(contexts.flatten(1)).min() > 1
    assert (contexts == contexts[:, :1]).all(), "classes start alike"
    assert torch.equal(start(0), contexts)
    assert torch.equal(start(1)[0], contexts[0])
    assert (start(1)[1:] != contexts[1:]).all()


def test_prompts_are_soft_tokens_through_the_tower(clip: Backbone) -> None:
    learner = PromptLearner(clip.text_tower, CLASSES, n_prompts=2, shared=False)
    soft = learner.soft_tokens()
    for found, embedded in zip(learner(), soft, strict=True):
        torch.testing.assert_close(found, clip.text_tower.encode(embedded, learner.tokens), atol=1e-6, rtol=0)
    assert torch.equal(soft[:, :, 1:5], learner.contexts)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "class-specific"])
def test_a_context_moves_its_own_classes_alone(clip: Backbone, shared: bool) -> None:
    learner = PromptLearner(clip.text_tower, CLASSES, n_prompts=2, shared=shared)
    before = learner().detach()
    with torch.no_grad():
        learner.contexts[1, -1] *= -1
    moved = (learner() - before).abs().amax(2) > 1e-4
    assert moved.tolist() == [[False] * 4, [True] * 4 if shared else [False, False, False, True]]


def test_only_contexts_are_parameters_and_saved(clip: Backbone) -> None:
    learner = PromptLearner(clip.text_tower, CLASSES)
    assert [*dict(learner.named_parameters())] == [*learner.state_dict()] == ["contexts"]


def test_many_prompts_in_chunks_are_the_same_with_the_same_gradient(
    clip: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = PromptLearner(clip.text_tower, CLASSES, n_prompts=3, shared=False)
    weights = torch.randn(3, 4, 24, generator=torch.Generator().manual_seed(1))

    def found() -> tuple[Tensor, Tensor]:
        vectors = learner()
        return vectors.detach(), torch.autograd.grad((weights * vectors).sum(), learner.contexts)[0]

    whole = found()
    monkeypatch.setattr(prompt_learner, "AT_A_TIME", 5)
    torch.testing.assert_close(found(), whole, atol=1e-5, rtol=1e-4)


def test_the_gradient_is_that_of_finite_differences() -> None:
    learner = PromptLearner(tiny_clip().double().text_tower, CLASSES[:2], n_prompts=2, shared=False)
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 2, 24, generator=random, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights * learner()).sum(), learner.contexts)
    for _ in range(3):
        step = 1e-5 * torch.randn(learner.contexts.shape, generator=random, dtype=torch.float64)
        with torch.no_grad():
            change = (
                weights * (learner.encode(learner.contexts + step) - learner.encode(learner.contexts - step))
            ).sum()
        torch.testing.assert_close(2 * (gradient * step).sum(), change, rtol=1e-5, atol=1e-12)


def test_fixed_vectors_are_computed_once_for_each_state_of_the_contexts(clip: Backbone) -> None:
    learner = PromptLearner(clip.text_tower, CLASSES)
    with torch.inference_mode():
        first = learner.fixed()
    assert learner.fixed() is first
    assert not first.requires_grad
    assert not first.is_inference()
    assert torch.equal(first, learner())
    learner.contexts.data[0, 0, 0, 0] += 1
    assert not torch.equal(learner.fixed(), first)
    assert torch.equal(learner.fixed(), learner())


def test_what_cannot_be_is_said(clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = clip.text_tower
    with pytest.raises(InsightError, match=r"^prompts: expected n_ctx of 1 or more, found 0$"):
        PromptLearner(tower, CLASSES, n_ctx=0)
    with pytest.raises(InsightError, match="expected 1 to 3 tokens of words to start from, found 4"):
        PromptLearner(tower, CLASSES, n_ctx=3)
    with pytest.raises(InsightError, match="expected prompts of at most 32 tokens, found 1 longer"):
        PromptLearner(tower, ["cat", "cat " * 30])
    monkeypatch.setattr("insight.methods.prompts.placeholders.PLACEHOLDER", "kit fox")
    with pytest.raises(InsightError, match="expected 4 placeholders of one token each"):
        with_placeholders(tower, CLASSES, 4)
