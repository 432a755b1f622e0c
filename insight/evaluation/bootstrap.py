"""Intervals by bootstrap: images drawn anew with replacement.

In: a figure of images that takes weights, float [draws, n], how often each counts in each draw. Out: its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

CHUNK = 100  # draws at a time: n numbers each


def interval(
    figure: Callable[[np.ndarray], np.ndarray],
    n: int,
    *,
    draws: int = 1000,
    seed: int = 0,
    strata: np.ndarray | None = None,
    share: float = 0.95,
) -> tuple[float, float]:
    """The bounds between which `share` of the draws' figures lie (percentile bootstrap); draws without one (NaN) aside.

    figure: from weights [k, n] to the figure [k] of each draw; `strata`: int [n], the class of each image, whose number
    of images is then the same in every draw. Both bounds are NaN when no draw has a figure.
    """
    found = np.concatenate([np.asarray(figure(weights)) for weights in drawn(n, draws, seed, strata)])
    found = found[np.isfinite(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def drawn(n: int, draws: int, seed: int, strata: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """float64 [up to 100, n] at a time: how often each image is drawn; a draw is of n, or as many of each stratum."""
    random = torch.Generator().manual_seed(seed)
    groups = [np.arange(n)] if strata is None else [np.flatnonzero(strata == one) for one in np.unique(strata)]
    for start in range(0, draws, CHUNK):
        k = min(CHUNK, draws - start)
        weights = np.zeros((k, n))
        for members in groups:
            picked = torch.randint(len(members), (k, len(members)), generator=random).numpy()
            cell = np.arange(k)[:, None] * len(members) + picked
            weights[:, members] = np.bincount(cell.ravel(), minlength=k * len(members)).reshape(k, len(members))
        yield weights
