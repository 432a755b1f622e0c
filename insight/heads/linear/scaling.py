"""What a feature is divided by before the penalty sees it. In: sparse rows. Out: one positive number a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

from sae.errors import InsightError

Scale: TypeAlias = Literal["max", "std", "sqrt"] | None
ROUNDING = 1e-7
"""Of the mean: a smaller deviation is what rounding makes of a constant."""


@dataclass(frozen=True)
class Spread:
    """Of each feature, over some rows of positive weight, what every scale follows from; that of more rows merges."""

    weight: float
    mean: Float64[np.ndarray, " F"]
    squares: Float64[np.ndarray, " F"]
    """Weighted sum of squared deviations from the mean."""
    largest: Float64[np.ndarray, " F"]
    """Largest magnitude."""

    @classmethod
    def of(cls, x: csr_array, weight: Float64[np.ndarray, " n"]) -> Spread:
        """That of rows; every entry once."""
        counted = np.repeat(weight, np.diff(x.indptr))
        values, n_features, total = x.data.astype(np.float64), x.shape[1], float(weight.sum())
        mean = np.bincount(x.indices, counted * values, n_features) / total
        absent = np.maximum(total - np.bincount(x.indices, counted, n_features), 0)  # rows where the feature is 0
        squares = np.bincount(x.indices, counted * (values - mean[x.indices]) ** 2, n_features) + absent * mean**2
        largest = np.zeros(n_features)
        np.maximum.at(largest, x.indices, np.abs(values) * (counted > 0))
        return cls(total, mean, squares, largest)

    def merged(self, other: Spread) -> Spread:
        """That of the rows of both (Chan, Golub and LeVeque 1979)."""
        weight = self.weight + other.weight
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.weight / weight)
        squares = self.squares + other.squares + apart**2 * (self.weight * other.weight / weight)
        return Spread(weight, mean, squares, np.maximum(self.largest, other.largest))

    def scale(self, scale: Scale) -> Float64[np.ndarray, " F"]:
        """The divisor of each feature; see `feature_scale`."""
        if scale is None:
            return np.ones_like(self.mean)
        if scale == "max":
            return np.where(self.largest > 0, self.largest, 1.0)
        if scale not in ("std", "sqrt"):
            raise InsightError(f"scale: expected 'max', 'std', 'sqrt' or None, found {scale!r}")
        deviation = np.sqrt(self.squares / self.weight)
        constant = deviation <= ROUNDING * np.abs(self.mean)
        if scale == "sqrt":
            deviation = np.sqrt(deviation * deviation.max())
        return np.where(constant, 1.0, deviation)


def feature_scale(x: csr_array, weight: Float64[np.ndarray, " n"], scale: Scale) -> Float64[np.ndarray, " F"]:
    """The scale of each feature over the rows of positive weight.

    "max": its largest magnitude. "std": its (weighted) standard deviation; the mean is not taken off the rows, which
    stay sparse, as scikit-learn's `StandardScaler(with_mean=False)` does. "sqrt": the geometric mean of that and the
    largest one: a rare concept is not blown up to the size of a common one, and not left so small that only common ones
    count. None: 1. A feature that is constant (for "max": always 0) has scale 1. `InsightError` for another word.
    """
    return Spread.of(x, weight).scale(scale)
