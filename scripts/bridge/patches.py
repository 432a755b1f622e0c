"""The map of the patches, trained by contrast with the patches that fit best.

In: trunk tokens of whole photos, and the texts. Out: a map [384, 384].

It starts as the ridge regression from the mean patch to the mean caption or the name. Then a photo must prefer its own
caption, its own class name, the words of its captions, and the nouns that WordNet and the teacher have for it, to those
of the other photos in the batch, and they it. How well a text fits a photo is the mean cosine of the photo's patches
with the text, weighted by the softmax of the same cosines: the patches that fit best decide, which is what makes single
patches nameable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .descent import descend
from .draws import Draws
from .losses import contrast, fit
from .material import Material
from .photos import Texts


@dataclass(frozen=True)
class PatchRecipe:
    """Every number that the map of the patches depends on; written into the card."""

    ridge: float = 3000.0
    steps: int = 200
    learning_rate: float = 1e-2
    start_norm: float = 20.0
    captioned_per_batch: int = 64
    named_per_batch: int = 48
    said_words_per_batch: int = 128
    patches_per_photo: int = 64
    patch_temperature: float = 0.1
    text_temperature: float = 0.2
    said_weight: float = 16.0
    words_per_batch: int = 96
    word_weight: float = 8.0
    teacher_share: float = 0.3
    runs: int = 3


def fit_patches(start: Tensor, material: Material, texts: Texts, recipe: PatchRecipe, seed: int) -> Tensor:
    """The map [384, 384] of patches less their mean, going on from `start`.

    The products are computed in bfloat16, which this loss does not feel.
    """

    def loss(weight: Tensor, draws: Draws) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return patch_loss(weight, material, texts, recipe, draws)

    start = start * (recipe.start_norm / start.norm())
    return descend(loss, start, recipe.steps, recipe.learning_rate, recipe.runs, seed)


def patch_loss(weight: Tensor, material: Material, texts: Texts, recipe: PatchRecipe, draws: Draws) -> Tensor:
    """Captions and names by contrast together, words of captions and of names, on a batch that `draws` draws."""
    captioned, named = material.captioned, material.named
    first = draws.several(len(captioned), recipe.captioned_per_batch)
    second = draws.several(len(named), recipe.named_per_batch)
    n = len(first)
    places = 1 + draws.patches(n + len(second), captioned.shape[1] - 1, recipe.patches_per_photo)
    tokens = [captioned[first[:, None], places[:n]].float(), named[second[:, None], places[n:]].float()]
    vectors = normalize((torch.cat(tokens) - material.patch_mean) @ weight.T, dim=-1)

    shown = texts.photo_name[second]
    names = shown.unique()
    phrases = torch.cat(
        [texts.captions[draws.one_where(texts.caption_photo, first)], draws.template(texts.names)[names]]
    )
    own = torch.block_diag(torch.eye(n), (shown[:, None] == names).float()).bool()
    loss = contrast(fit(vectors, phrases, recipe.patch_temperature), own, recipe.text_temperature)

    shows = material.words_shown(texts, recipe.teacher_share)[second]
    for part, has, phrases, count, strength in (
        (vectors[:n], texts.has_said[first], texts.said, recipe.said_words_per_batch, recipe.said_weight),
        (vectors[n:], shows, texts.words, recipe.words_per_batch, recipe.word_weight),
    ):
        present = has.any(0).nonzero().squeeze(1)
        words = present[draws.several(len(present), count)]
        scores = fit(part, draws.template(phrases)[words], recipe.patch_temperature)
        loss = loss + strength * contrast(scores, has[:, words], recipe.text_temperature)
    return loss
