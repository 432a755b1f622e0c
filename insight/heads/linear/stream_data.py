"""Batches as people give them, and what one pass tells of them all. In: batches. Out: checked batches, `Moments`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

from sae.errors import InsightError

from .problem import check_classes, read_rows, read_targets
from .scaling import Scale, Spread

Batches: TypeAlias = Callable[[int], Iterable[tuple[csr_array, np.ndarray]]]
"""From the number of an epoch (from 0) to its batches: rows [b, F], and class numbers [b] or soft targets [b, C]. Every
epoch has the same rows, better in another order; for one number always in the same."""


@dataclass(frozen=True)
class Moments:
    """Of all rows: their number, the share of each class, and for each feature its divisor, mean and mean square."""

    n: int
    class_share: Float64[np.ndarray, " C"]
    scale: Float64[np.ndarray, " F"]
    scaled_mean: Float64[np.ndarray, " F"]
    scaled_square: Float64[np.ndarray, " F"]

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.class_share)

    def summary(self) -> dict[str, Any]:
        """What tells these rows from others, as plain values."""
        return {
            "rows": self.n,
            "features": len(self.scale),
            "class_share": self.class_share.tolist(),
            "sum_of_means": float(self.scaled_mean.sum()),
        }


def read_batches(
    batches: Batches, epoch: int, n_features: int, n_classes: int
) -> Iterator[tuple[csr_array, Float64[np.ndarray, "b C"]]]:
    """The batches of an epoch, checked: rows in float64, targets as shares of classes. Empty ones are left out."""
    for number, (x, y) in enumerate(batches(epoch)):
        if x.shape[0] == 0:
            continue
        if x.shape[1] != n_features:
            raise InsightError(f"batches: expected {n_features} features, found {x.shape[1]} in batch {number}")
        rows = read_rows(x)
        labels, targets = read_targets(y, rows.shape[0], n_classes)
        if labels is not None:
            targets = np.zeros((rows.shape[0], n_classes))
            targets[np.arange(len(labels)), labels] = 1
        assert targets is not None
        yield rows, targets


def read_moments(batches: Batches, n_features: int, n_classes: int, scale: Scale, fit_intercept: bool) -> Moments:
    """The moments of the first epoch; `InsightError` without rows, with one class, or where a class has no optimum."""
    spread: Spread | None = None
    n, mass = 0, np.zeros(n_classes)
    for x, targets in read_batches(batches, 0, n_features, n_classes):
        own = Spread.of(x, np.ones(x.shape[0]))
        spread = own if spread is None else spread.merged(own)
        n, mass = n + x.shape[0], mass + targets.sum(0)
    if spread is None:
        raise InsightError("batches: expected rows, found none")
    check_classes(mass, fit_intercept)
    divisor = spread.scale(scale)
    mean = spread.mean / divisor
    return Moments(n, mass / n, divisor, mean, spread.squares / n / divisor**2 + mean**2)
