"""Whether training again finds the same concepts. In: dictionaries of several seeds. Out: matched cosines, a null."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ..errors import InsightError
from .matching import Matching, match


@dataclass(frozen=True, eq=False)
class Stability:
    """Agreement of dictionaries, matched two by two. A concept without a partner counts with a cosine of 0."""

    cosines: tuple[Tensor, ...]
    """For each dictionary float64 [m]: each concept's cosine with its partner, mean over the other dictionaries."""
    mean: float
    """Mean over all concepts of all pairs of dictionaries."""
    share: float
    """Share of them whose cosine is at least `threshold`."""
    null_mean: float
    """`mean` of two dictionaries of random directions that are spread like the first two: what matching alone gives."""
    null_share: float
    """`share` of those."""
    threshold: float


def stability(
    dictionaries: Sequence[Tensor],
    *,
    threshold: float = 0.7,
    match: Callable[[Tensor, Tensor], Matching] = match,
    seed: int = 0,
) -> Stability:
    """Match every two of at least two dictionaries [m, d] (m may differ) and see how well partners agree.

    A concept of one seed is stable as far as the others have it too. Leave out dead concepts: they match by chance.
    `match` says how: `sae.metrics.match` for up to 16,384 concepts, `lambda a, b: match_above(a, b, floor=0.3)` beyond.
    The null is drawn from `seed`. One matching for each two dictionaries and one for the null.
    """
    n = len(dictionaries)
    if n < 2:
        raise InsightError(f"stability: expected at least two dictionaries, found {n}; train with another seed")
    sums = [torch.zeros(len(dictionary), dtype=torch.float64) for dictionary in dictionaries]
    every = []
    for i, j in combinations(range(n), 2):
        for side, cosine in zip((i, j), _both_ways(match(dictionaries[i], dictionaries[j]), len(dictionaries[j]))):
            sums[side] += cosine
            every.append(cosine)
    generator = torch.Generator().manual_seed(seed)
    left, right = (random_like(dictionary, generator) for dictionary in dictionaries[:2])
    null = torch.cat(_both_ways(match(left, right), len(right)))
    found = torch.cat(every)
    return Stability(
        cosines=tuple(total / (n - 1) for total in sums),
        mean=float(found.mean()),
        share=float((found >= threshold).double().mean()),
        null_mean=float(null.mean()),
        null_share=float((null >= threshold).double().mean()),
        threshold=threshold,
    )


def random_like(dictionary: Tensor, generator: torch.Generator) -> Tensor:
    """Unit rows [m, d] float32, on the CPU, drawn from the Gaussian with the mean and covariance of a dictionary's.

    As many and as unevenly spread as its directions, and without concepts.
    """
    rows = dictionary.detach().cpu().double()
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    noise = torch.randn(rows.shape, dtype=torch.float64, generator=generator)
    drawn = mean + noise * values.clamp(min=0).sqrt() @ vectors.T
    return torch.nn.functional.normalize(drawn).float()


def _both_ways(matching: Matching, width: int) -> tuple[Tensor, Tensor]:
    """The matched cosines of the left concepts and of the `width` right ones; 0 without a partner."""
    left = matching.cosine.nan_to_num(0.0)
    right = torch.zeros(width, dtype=torch.float64)
    paired = matching.partner >= 0
    right[matching.partner[paired]] = left[paired]
    return left, right
