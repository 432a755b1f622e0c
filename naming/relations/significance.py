"""Whether a count is more than chance, for many pairs at once: binomial tails, and Benjamini and Hochberg's procedure.

Pure functions on arrays. In: hits, trials and null rates. Out: p-values; then q-values among a known number of tests.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc


def binomial_tail(hits: np.ndarray, trials: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """float64: P(X >= hits) for X ~ Binomial(trials, rate), element by element; 0 < rate < 1.

    The regularised incomplete beta function I_rate(hits, trials − hits + 1), exact in the far tail too.
    """
    hits, trials = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    some = hits > 0
    return np.where(some, betainc(np.where(some, hits, 1.0), np.maximum(trials - hits, 0.0) + 1.0, rate), 1.0)


def q_values(p_values: np.ndarray, tests: int) -> np.ndarray:
    """float64: for each p-value the smallest false discovery rate at which it is among the discoveries.

    Benjamini and Hochberg 1995: discoveries at rate q are the k smallest, k the largest with p_(k) <= k q / tests.
    `tests` counts those too whose p-values are not given; they must be none smaller than any given here, or, as where
    pairs were sorted out beforehand, be taken for 1.
    """
    if not len(p_values):
        return np.zeros(0)
    order = p_values.argsort()
    scaled = p_values[order] * (tests / np.arange(1, len(p_values) + 1))
    found = np.empty(len(p_values))
    found[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    return found
