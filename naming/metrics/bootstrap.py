"""How sure a measured figure is: 95 % intervals by resampling what it was measured on.

In: a statistic of chosen cases. Out: `Interval`, its value on all cases and where 95 % of resamples fall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % bootstrap interval; all NaN where there is nothing to measure."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[[Int[np.ndarray, " n"]], float], n: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """`statistic` of all n cases, with the 2.5 and 97.5 percentiles of it over resamples (Efron, 1979).

    `statistic` gets the numbers of the cases (0 to n - 1, with repeats). Resamples on which it is NaN are left out; a
    ratio may be infinite.
    """
    if not n:
        return Interval(*[float("nan")] * 3)
    generator = np.random.default_rng(seed)
    draws = np.array([statistic(generator.integers(n, size=n)) for _ in range(resamples)])
    draws = draws[~np.isnan(draws)]
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest") if len(draws) else (float("nan"),) * 2
    return Interval(float(statistic(np.arange(n))), float(low), float(high))


def mean(values: Float[np.ndarray, " n"], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of n values."""
    return bootstrap(lambda chosen: float(values[chosen].mean()), len(values), resamples=resamples, seed=seed)


def ratio(
    above: Float[np.ndarray, " n"], below: Float[np.ndarray, " n"], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The sum of `above` over the sum of `below` (`quotient`), both of the same n cases and resampled together."""

    def of(chosen: Int[np.ndarray, " n"]) -> float:
        return quotient(above[chosen].sum(), below[chosen].sum())

    return bootstrap(of, len(above), resamples=resamples, seed=seed)


def quotient(above: float, below: float) -> float:
    """Infinite where only the second is 0, NaN where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(above) / np.float64(below))
