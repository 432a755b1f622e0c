"""Classification: accuracy, area under the ROC curve and calibration, with intervals over images drawn anew.

In: probabilities of classes and the truth. Out: figures, each with an interval from draws that keep every class's size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from sae.errors import InsightError

from .bootstrap import interval

Figure = Callable[[np.ndarray], np.ndarray]
"""From weights [draws, n] to a figure for each draw."""
BINS = 15  # of the calibration error, as in its source


class Measured(NamedTuple):
    """A figure and the bounds of 95 % of it over images drawn anew."""

    value: float
    low: float
    high: float


def classification(
    probabilities: np.ndarray, truth: np.ndarray, *, draws: int = 1000, seed: int = 0
) -> Mapping[str, Measured]:
    """ "accuracy", "macro AUC" and "calibration error" of probabilities [n, C], truth int [n] of classes 0 to C - 1.

    Draws are stratified: each keeps the number of images of each class. `InsightError` when the two do not fit, or a
    row is not finite or does not sum to 1.
    """
    figures = {
        "accuracy": accuracy(probabilities, truth),
        "macro AUC": macro_auc(probabilities, truth),
        "calibration error": calibration_error(probabilities, truth),
    }
    once = np.ones((1, len(truth)))
    return {
        name: Measured(float(figure(once)[0]), *interval(figure, len(truth), draws=draws, seed=seed, strata=truth))
        for name, figure in figures.items()
    }


def accuracy(probabilities: np.ndarray, truth: np.ndarray) -> Figure:
    """Share of the images whose likeliest class (of equals the first) is the right one."""
    _check(probabilities, truth)
    right = (probabilities.argmax(1) == truth).astype(np.float64)
    return lambda weights: weights @ right / weights.sum(1)


def macro_auc(probabilities: np.ndarray, truth: np.ndarray) -> Figure:
    """Mean over classes of the chance that an image of the class has a higher probability of it than another image.

    Ties count half (Hanley and McNeil 1982). One against the rest, over the classes that occur, as scikit-learn's
    `roc_auc_score(multi_class="ovr")` where all do; NaN when only one does.
    """
    _check(probabilities, truth)
    ranked = []
    for c in range(probabilities.shape[1]):
        own = np.flatnonzero(truth == c)
        if 0 < len(own) < len(truth):
            order = np.argsort(probabilities[:, c], kind="stable")
            rising, score = probabilities[order, c], probabilities[own, c]
            ranked.append((own, order, np.searchsorted(rising, score), np.searchsorted(rising, score, side="right")))

    def figure(weights: np.ndarray) -> np.ndarray:
        areas = []
        below = np.zeros((len(weights), len(truth) + 1))
        for own, order, first, last in ranked:
            np.cumsum(weights[:, order], axis=1, out=below[:, 1:])
            total = weights[:, own].sum(1)
            # of all that score less, and half of those that score the same; the class against itself is one half
            won = (weights[:, own] * (below[:, first] + below[:, last])).sum(1) / 2 - total**2 / 2
            with np.errstate(invalid="ignore"):
                areas.append(won / (total * (below[:, -1] - total)))
        return np.mean(areas, axis=0) if areas else np.full(len(weights), np.nan)

    return figure


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> Figure:
    """Expected calibration error: how far the accuracy is from the mean probability of the likeliest class, in 15
    equal bins of that probability, mean over images (Guo et al. 2017, "On calibration of modern neural networks").
    """
    _check(probabilities, truth)
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    bin_of = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.zeros((len(truth), BINS))
    gap[np.arange(len(truth)), bin_of] = right - confidence
    return lambda weights: np.abs(weights @ gap).sum(1) / weights.sum(1)


def _check(probabilities: np.ndarray, truth: np.ndarray) -> None:
    shape = np.shape(probabilities)
    if len(shape) != 2 or np.shape(truth) != shape[:1] or not shape[0]:
        raise InsightError(f"probabilities: expected [n, C] for truth {list(np.shape(truth))}, found {list(shape)}")
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= shape[1]:
        found = f"{truth.dtype} from {truth.min()} to {truth.max()}"
        raise InsightError(f"truth: expected classes 0 to {shape[1] - 1}, found {found}; leave out unlabelled images")
    if not np.allclose(probabilities.sum(1), 1, atol=1e-3) or probabilities.min() < 0:  # NaN is not close either
        raise InsightError("probabilities: expected rows that sum to 1, nowhere negative; found others (or NaN)")
