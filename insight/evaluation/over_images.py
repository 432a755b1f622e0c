"""Means over pairs of photos and texts, with intervals over photos drawn anew.

In: a value of each pair and the photo it is of. Out: a `Measured`.
"""

from __future__ import annotations

import numpy as np

from sae.errors import InsightError

from .bootstrap import interval
from .classification import Measured


def mean_over_images(
    values: np.ndarray, image: np.ndarray | None = None, *, draws: int = 1000, seed: int = 0
) -> Measured:
    """Mean of values [n], those that are NaN (nothing to measure) aside, and the bounds of 95 % of it.

    image: int [n], the photo of each value (None: each its own). Photos are drawn, and bring all their pairs, since the
    pairs of a photo are not independent. NaN when there is no value. `InsightError` when shapes do not fit.
    """
    values = np.asarray(values, dtype=np.float64)
    image = np.arange(len(values)) if image is None else np.asarray(image)
    if values.ndim != 1 or image.shape != values.shape:
        raise InsightError(f"values: expected [n] and photos [n], found {list(values.shape)} and {list(image.shape)}")
    known = np.isfinite(values)
    photos, of = np.unique(image[known], return_inverse=True)
    if not len(photos):
        return Measured(float("nan"), float("nan"), float("nan"))
    sums, counts = np.bincount(of, values[known]), np.bincount(of)
    low, high = interval(lambda w: (w @ sums) / (w @ counts), len(photos), draws=draws, seed=seed)
    return Measured(float(sums.sum() / counts.sum()), low, high)
