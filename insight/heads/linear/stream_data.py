"""Batches as people give them, and what one pass tells of them all. In: batches. Out: checked batches, `Moments`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

from sae.errors import InsightError

from .problem import check_classes, read_offset, read_rows, read_targets, read_weights
from .scaling import Scale, Spread


class Rows(NamedTuple):
    """A batch. x: rows [b, F]; y: class numbers [b], or soft targets [b, C]; weight: [b], 1 by default; offset: fixed
    logits [b, C], 0 by default."""

    x: csr_array
    y: np.ndarray
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None


Batches: TypeAlias = Callable[[int], Iterable[Rows | tuple[csr_array, np.ndarray]]]
"""From the number of an epoch (from 0) to its batches. Every epoch has the same rows, better in another order; for one
number always in the same."""


@dataclass(frozen=True)
class Checked:
    """A batch as the fit reads it: rows in float64, those of weight 0 left out."""

    x: csr_array
    targets: Float64[np.ndarray, "b C"]
    weight: Float64[np.ndarray, " b"]
    offset: Float64[np.ndarray, "b C"] | None


@dataclass(frozen=True)
class Moments:
    """Of all rows: their number and weight, the share of each class, and for each feature its divisor, mean and mean
    square."""

    n: int
    weight: float
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
            "weight": self.weight,
            "features": len(self.scale),
            "class_share": self.class_share.tolist(),
            "sum_of_means": float(self.scaled_mean.sum()),
        }


def read_batches(batches: Batches, epoch: int, n_features: int, n_classes: int) -> Iterator[Checked]:
    """The batches of an epoch. Those without rows are left out, and rows without weight."""
    for number, given in enumerate(batches(epoch)):
        batch = Rows(*given)
        n = batch.x.shape[0]
        if n == 0:
            continue
        if batch.x.shape[1] != n_features:
            raise InsightError(f"batches: expected {n_features} features, found {batch.x.shape[1]} in batch {number}")
        x = read_rows(batch.x)
        labels, targets = read_targets(batch.y, n, n_classes)
        if labels is not None:
            targets = np.zeros((n, n_classes))
            targets[np.arange(n), labels] = 1
        assert targets is not None
        weight, offset = read_weights(batch.weight, n), read_offset(batch.offset, n, n_classes)
        kept = weight > 0
        if not kept.all():
            x, targets, weight = x[kept], targets[kept], weight[kept]
            offset = None if offset is None else offset[kept]
        if len(weight):
            yield Checked(x, targets, weight, offset)


def read_moments(batches: Batches, n_features: int, n_classes: int, scale: Scale, fit_intercept: bool) -> Moments:
    """The moments of the first epoch; `InsightError` without rows, with one class, or where a class has no optimum."""
    spread: Spread | None = None
    n, mass = 0, np.zeros(n_classes)
    for batch in read_batches(batches, 0, n_features, n_classes):
        own = Spread.of(batch.x, batch.weight)
        spread = own if spread is None else spread.merged(own)
        n, mass = n + len(batch.weight), mass + batch.weight @ batch.targets
    if spread is None:
        raise InsightError("batches: expected rows of weight above 0, found none")
    check_classes(mass, fit_intercept)
    divisor = spread.scale(scale)
    mean = spread.mean / divisor
    total = spread.weight
    return Moments(n, total, mass / total, divisor, mean, spread.squares / total / divisor**2 + mean**2)
