"""Signs that a name is right, which need no labels: what the words, the region and the decoder agree on.

In: a unit vector for each concept, its nearest phrases, and a second vector found in another way. Out: a few numbers a
concept, larger where names have proved right more often; and how often a name is found again from other photos.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError

from ..words.vocabulary import Vocabulary
from ..words.wordforms import word_key
from .nearest import Names

SIGNALS = ("consensus", "lead", "decoded")
REACH = 40
"""Phrases among which the first one of another meaning is sought."""
ANOTHER = 0.5
"""Text cosine below which a phrase means another thing than the first one. In MiniLM "street" and "road" have 0.7,
"street" and "car" 0.3."""


def name_signals(
    embeddings: Float[Tensor, "m d"],
    names: Names,
    vocabulary: Vocabulary,
    decoded: Float[Tensor, "m d"],
    *,
    prior: float = 0.0,
) -> Float[np.ndarray, "m 3"]:
    """`SIGNALS` of each concept; NaN rows for concepts without a name.

    consensus: mean text cosine of the first phrase to the others of `names`; lead: by how much its score (cosine +
    `prior` · zipf) exceeds that of the best of `REACH` phrases that means another thing; decoded: cosine of the
    embedding to `decoded`, the same concept as published (`concept_embeddings`).
    """
    if not len(embeddings) == len(names) == len(decoded):
        raise InsightError(f"name_signals: expected {len(names)} embeddings and decodings, found others")
    place = {phrase: i for i, phrase in enumerate(vocabulary.phrases)}
    values = np.full((len(names), len(SIGNALS)), np.nan)
    named = [i for i, phrases in enumerate(names.phrases) if phrases]
    if not named:
        return values
    cosines, found = vocabulary.nearest(embeddings[named], REACH, prior=prior)
    scores = cosines + prior * vocabulary.zipf[found]
    for row, i in enumerate(named):
        words = vocabulary.vectors[[place[phrase] for phrase in names.phrases[i]]]
        alike = words[1:] @ words[0]
        another = vocabulary.vectors[found[row]] @ words[0] < ANOTHER
        best = scores[row, int(another.int().argmax())] if bool(another.any()) else scores[row, -1]
        lead = names.scores[i][0] + prior * float(vocabulary.zipf[place[names.phrases[i][0]]]) - float(best)
        decoder = float(embeddings[i].cpu() @ decoded[i].cpu())
        values[i] = [float(alike.mean()) if len(alike) else 0.0, lead, decoder]
    return values


def name_stability(
    resamples: Float[Tensor, "folds m d"], names: Names, vocabulary: Vocabulary, *, prior: float = 0.0
) -> Float[np.ndarray, " m"]:
    """The share of resamples of the evidence, each alone, whose nearest phrase is a form of the concept's name.

    Zero rows (the concept does not fire in that fold) are left out; NaN where no fold is left, or no name.
    """
    if resamples.dim() != 3 or resamples.shape[1] != len(names):
        raise InsightError(
            f"name_stability: expected resamples [folds, {len(names)}, d], found {list(resamples.shape)}"
        )
    keys = np.array([word_key(phrases[0]) if phrases else "" for phrases in names.phrases], dtype=object)
    again, drawn = np.zeros(len(names)), np.zeros(len(names))
    for vectors in resamples:
        fires = torch.nonzero((vectors.abs().sum(1) > 0).cpu() & torch.from_numpy(keys != "")).squeeze(1)
        _, nearest = vocabulary.nearest(vectors[fires], 1, prior=prior)
        first = [word_key(vocabulary.phrases[i]) for i in nearest.flatten().tolist()]
        again[fires] += np.array(first, dtype=object) == keys[fires]
        drawn[fires] += 1
    return np.divide(again, drawn, out=np.full(len(names), np.nan), where=drawn > 0)
