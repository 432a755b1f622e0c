"""The map of the image vectors: from class token and mean patch to the texts of the whole photo.

In: class tokens and mean patches of many views, and the texts. Out: a map [384, 768].

It starts as the ridge regression to the teacher's posterior-weighted names. Then a captioned photo must prefer its own
caption and the words of its captions, a named one its class name, to those of the others, and they it; and any view
must share its preference among ImageNet's 1,000 names, and among the WordNet nouns above them, as the teacher's
posteriors do, and each of those nouns its preference among the views. Many photos are seen enlarged from small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .closed_form import ridge, teacher_targets
from .descent import descend
from .draws import Draws
from .losses import contrast, share
from .material import Material
from .photos import Texts


@dataclass(frozen=True)
class PooledRecipe:
    """Every number that the map of the image vectors depends on; written into the card."""

    ridge: float = 3000.0
    steps: int = 200
    learning_rate: float = 2e-3
    start_norm: float = 20.0
    captioned_per_batch: int = 128
    named_per_batch: int = 128
    views_per_batch: int = 256
    temperature: float = 0.2
    caption_weight: float = 3.0
    said_weight: float = 1.0
    name_weight: float = 1.0
    teacher_weight: float = 1.0
    word_weight: float = 1.0
    photo_weight: float = 1.0
    least_shown: float = 0.3
    runs: int = 3


def fit_pooled(material: Material, texts: Texts, recipe: PooledRecipe, seed: int) -> Tensor:
    """The map [384, 768] of class token and mean patch, less their means."""
    scale = material.views.std()  # of one number, so that a step is as large as it would be for unit variance
    start = ridge(material.views, teacher_targets(texts, material.posteriors), recipe.ridge)

    def loss(weight: Tensor, draws: Draws) -> Tensor:
        return pooled_loss(weight / scale, material, texts, recipe, draws)

    start = start * (recipe.start_norm / start.norm())
    return descend(loss, start, recipe.steps, recipe.learning_rate, recipe.runs, seed) / scale


def pooled_loss(weight: Tensor, material: Material, texts: Texts, recipe: PooledRecipe, draws: Draws) -> Tensor:
    """The weighted sum of the six losses on a batch that `draws` draws."""
    tau = recipe.temperature

    photos = draws.several(len(material.whole_captioned), recipe.captioned_per_batch)
    vectors = normalize(draws.one_of_each(material.whole_captioned[photos]) @ weight.T, dim=1)
    captions = texts.captions[draws.one_where(texts.caption_photo, photos)]
    own = torch.eye(len(photos), dtype=torch.bool)
    said = texts.has_said[photos]
    loss = recipe.caption_weight * contrast(vectors @ captions.T, own, tau)
    loss = loss + recipe.said_weight * contrast(vectors @ draws.template(texts.said).T, said, tau)

    photos = draws.several(len(material.whole_named), recipe.named_per_batch)
    vectors = normalize(draws.one_of_each(material.whole_named[photos]) @ weight.T, dim=1)
    own = texts.photo_name[photos][:, None] == torch.arange(texts.names.shape[1])
    loss = loss + recipe.name_weight * contrast(vectors @ draws.template(texts.names).T, own, tau)

    views = draws.several(len(material.views), recipe.views_per_batch)
    vectors = normalize(material.views[views] @ weight.T, dim=1)
    posteriors = material.posteriors[views]
    loss = loss + recipe.teacher_weight * share(vectors @ draws.template(texts.teacher).T, posteriors, tau)
    words = (posteriors @ texts.teacher_word.to(posteriors.dtype)).clamp(max=1)
    scores = vectors @ draws.template(texts.words).T
    shown = words.sum(0) > recipe.least_shown  # which of the photos show it cannot be learnt of a word that none shows
    loss = loss + recipe.word_weight * share(scores, words, tau)
    return loss + recipe.photo_weight * share(scores[:, shown].T, words[:, shown].T, tau)
