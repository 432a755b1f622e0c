"""The same on the real `small`, whose tokenizer splits words into pieces."""

from __future__ import annotations

import torch

from insight.backbones.small import load_small
from insight.methods.prompts import PromptLearner


def test_a_prompt_that_starts_from_words_is_the_text_with_these_words_on_small() -> None:
    backbone = load_small().freeze()
    classes = ("cat", "x ray", "3/4 view of an antidisestablishmentarian")
    learner = PromptLearner(backbone.text_tower, classes, n_prompts=2)
    texts = backbone.encode_text([f"a photo of a {name}." for name in classes])
    found = learner()
    torch.testing.assert_close(found[0], texts, atol=2e-6, rtol=0)
    assert (found[1] - texts).norm(dim=1).min() > 0.01
    assert learner.first == 1
