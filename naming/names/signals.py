"""Signs that a name is right, which need no labels: what the words, the region and the decoder agree on.

In: a unit vector for each concept, its nearest phrases, and a second vector found in another way. Out: a few numbers a
concept, larger where names have proved right more often; and how often a name is found again from other photos.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError

from ..words.vocabulary import Vocabulary
from ..words.wordforms import word_key
from .nearest import Names

SIGNALS = ("consensus", "decoded")
REACH = 40
"""Phrases that consensus is taken over. Chosen by how well it ranks names of labelled training photographs: areas under
the ROC of 0.76, 0.81, 0.83 and 0.83 over 5, 10, 20 and 40 phrases on MSRC-v2's masks."""


def name_signals(
    embeddings: Float[Tensor, "m d"],
    names: Names,
    vocabulary: Vocabulary,
    decoded: Float[Tensor, "m d"],
    *,
    prior: float = 0.0,
) -> Float[np.ndarray, "m 2"]:
    """`SIGNALS` of each concept; NaN rows for concepts without a name.

    consensus: mean text cosine of the concept's name to the other of its `REACH` nearest phrases (by cosine + `prior` ·
    zipf): where they speak of one thing, it is there, and where they speak of many, the best of them is a guess.
    decoded: cosine of the embedding to `decoded`, the same concept found in another way (`concept_embeddings`).
    """
    if not len(embeddings) == len(names) == len(decoded):
        found = f"{len(embeddings)} embeddings and {len(decoded)} decodings"
        raise InsightError(f"name_signals: expected as many as the {len(names)} names, found {found}")
    place = {phrase: i for i, phrase in enumerate(vocabulary.phrases)}
    named = [i for i, phrases in enumerate(names.phrases) if phrases]
    values = np.full((len(names), len(SIGNALS)), np.nan)
    _, nearest = vocabulary.nearest(embeddings[named], REACH, prior=prior)
    for i, found in zip(named, nearest):
        own = place[names.phrases[i][0]]
        others = vocabulary.vectors[found[found != own]]
        consensus = float((others @ vocabulary.vectors[own]).mean()) if len(others) else 0.0
        values[i] = consensus, float(embeddings[i].cpu() @ decoded[i].cpu())
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
        fires = np.flatnonzero((vectors.abs().sum(1) > 0).cpu().numpy() & (keys != ""))
        _, nearest = vocabulary.nearest(vectors[fires], 1, prior=prior)
        first = [word_key(vocabulary.phrases[i]) for i in nearest.flatten().tolist()]
        again[fires] += np.array(first, dtype=object) == keys[fires]
        drawn[fires] += 1
    return np.divide(again, drawn, out=np.full(len(names), np.nan), where=drawn > 0)
