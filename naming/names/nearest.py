"""The phrases nearest to each concept.

In: a unit vector for each concept and a `Vocabulary`. Out: `Names`, its nearest phrases with their cosines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError

from ..words.vocabulary import Vocabulary
from ..words.wordforms import word_key

_key = lru_cache(maxsize=1 << 16)(word_key)


@dataclass(frozen=True)
class Names:
    """For each concept its phrases, the best first, and their cosines; both empty for a concept that never fires."""

    phrases: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        return len(self.phrases)


def name_concepts(
    embeddings: Float[Tensor, "m d"], vocabulary: Vocabulary, top: int = 6, *, prior: float = 0.0
) -> Names:
    """The `top` phrases nearest to each concept, forms of one word (`word_key`) once; zero rows get no name.

    `prior` adds that much times a phrase's Zipf frequency to its cosine when phrases are ranked, so that of two that
    fit alike the common one wins; 0, as published, ranks by cosine. The scores are cosines either way.
    """
    if top < 1:
        raise InsightError(f"name_concepts: expected at least one name for each concept, found {top}")
    phrases: list[tuple[str, ...]] = [()] * len(embeddings)
    scores: list[tuple[float, ...]] = [()] * len(embeddings)
    left = embeddings.abs().sum(1).nonzero().squeeze(1)
    reach = 2 * top
    while len(left):
        cosines, found = vocabulary.nearest(embeddings[left], reach, prior=prior)
        exhausted = reach >= len(vocabulary)
        short = []
        for concept, row, indices in zip(left.tolist(), cosines.tolist(), found.tolist(), strict=True):
            distinct: dict[str, tuple[str, float]] = {}
            for cosine, index in zip(row, indices, strict=True):
                phrase = vocabulary.phrases[index]
                distinct.setdefault(_key(phrase), (phrase, cosine))
            if len(distinct) < top and not exhausted:
                short.append(concept)
                continue
            best = list(distinct.values())[:top]
            phrases[concept], scores[concept] = tuple(p for p, _ in best), tuple(s for _, s in best)
        left, reach = torch.tensor(short, dtype=torch.int64), 4 * reach
    return Names(tuple(phrases), tuple(scores))
