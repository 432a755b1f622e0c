"""Whether the sure names are the right ones: what is gained by not naming the rest.

In: the confidence of each concept's name and whether the name is right. Out: `Coverage`, the accuracy of the surest
share for every share, and how far confidence is from the share of right names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sae.errors import InsightError

from .bootstrap import RESAMPLES, Interval, bootstrap, quotient


@dataclass(frozen=True, eq=False)
class Coverage:
    """Accuracy against coverage (the risk-coverage curve of El-Yaniv and Wiener, 2010, the other way up)."""

    accuracy: Float[np.ndarray, " n"]
    """Of the surest 1, 2, ... n names."""
    area: Interval
    """Mean of `accuracy`: 1 where all names are right, that of all names where confidence says nothing."""
    half: Interval
    """Accuracy of the surer half, the middle one of an odd number included."""
    all: Interval
    gain: Interval
    """`half` over `all`."""


def coverage_curve(
    confidence: Float[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"] | Float[np.ndarray, " n"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Coverage:
    """The accuracy of the surest names, for every number of them; `right` may be shares (how near a name is).

    Of names of equal confidence it is the mean over all orders; -inf is for concepts that have none, which are wrong.
    Intervals are over resamples of the concepts.
    """
    right = _checked(confidence, right)
    n, middle = len(right), (len(right) - 1) // 2

    def interval(figure: Callable[[Float[np.ndarray, " n"]], float]) -> Interval:
        return bootstrap(lambda part: figure(_curve(confidence[part], right[part])), n, resamples=resamples, seed=seed)

    return Coverage(
        accuracy=_curve(confidence, right),
        area=interval(lambda curve: curve.mean()),
        half=interval(lambda curve: curve[middle]),
        all=interval(lambda curve: curve[-1]),
        gain=interval(lambda curve: quotient(curve[middle], curve[-1])),
    )


def calibration_error(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"] | Float[np.ndarray, " n"], *, bins: int = 10
) -> float:
    """Expected calibration error: |mean confidence - share right| over `bins` equal parts of [0, 1], by their share.

    (Naeini et al., 2015.) Confidences are 0 to 1; NaN where there are none.
    """
    right = _checked(confidence, right)
    if not len(right):
        return float("nan")
    if confidence.min() < 0 or confidence.max() > 1:
        found = f"{confidence.min():.3g} to {confidence.max():.3g}"
        raise InsightError(f"calibration_error: expected confidences of 0 to 1, found {found}")
    part = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(part, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def _curve(confidence: Float[np.ndarray, " n"], right: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, group, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    expected = np.repeat(np.bincount(group, weights=right, minlength=len(counts)) / counts, counts)
    return expected.cumsum() / np.arange(1, len(right) + 1)


def _checked(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"] | Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    if confidence.shape != right.shape or confidence.ndim != 1:
        found = f"{confidence.shape} and {right.shape}"
        raise InsightError(f"expected a confidence and a verdict for each name, found arrays of {found}")
    if np.isnan(confidence).any() or np.isnan(right.astype(np.float64)).any():
        raise InsightError("expected a confidence and a verdict for each name, found NaN; leave those names out")
    return right.astype(np.float64)
