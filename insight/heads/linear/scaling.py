"""What a feature is divided by before the penalty sees it. In: sparse rows. Out: one positive number a feature."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

from sae.errors import InsightError

Scale: TypeAlias = Literal["max", "std", "sqrt"] | None


def feature_scale(x: csr_array, weight: Float64[np.ndarray, " n"], scale: Scale) -> Float64[np.ndarray, " F"]:
    """The scale of each feature over the rows of positive weight.

    "max": its largest magnitude. "std": its (weighted) standard deviation; the mean is not taken off the rows, which
    stay sparse, as scikit-learn's `StandardScaler(with_mean=False)` does. "sqrt": the square root of that, half way to
    none: a rare concept is not blown up to the size of a common one, and not left so small that only common ones count.
    None: 1. A feature that is constant (for "max": always 0) has scale 1. `InsightError` for another word.
    """
    if scale is None:
        return np.ones(x.shape[1])
    if scale not in get_args(Literal["max", "std", "sqrt"]):
        raise InsightError(f"scale: expected 'max', 'std', 'sqrt' or None, found {scale!r}")
    counted = weight[np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))]
    values = x.data.astype(np.float64)
    if scale == "max":
        size = np.zeros(x.shape[1])
        np.maximum.at(size, x.indices, np.abs(values) * (counted > 0))
        return np.where(size > 0, size, 1.0)
    total = weight.sum()
    mean = np.bincount(x.indices, counted * values, x.shape[1]) / total
    absent = total - np.bincount(x.indices, counted, x.shape[1])  # the weight of the rows where the feature is 0
    square = np.bincount(x.indices, counted * (values - mean[x.indices]) ** 2, x.shape[1])
    deviation = np.sqrt((square + np.maximum(absent, 0) * mean**2) / total)
    constant = deviation <= 1e-7 * np.abs(mean)  # beyond what rounding makes of a constant
    deviation = np.where(constant, 1.0, deviation)
    return np.sqrt(deviation) if scale == "sqrt" else deviation
