"""Figures of several dictionaries, and what others might have given: concepts or labels drawn anew.

In: for each dictionary the values of its entries (a concept asked for the label of a data set), and the unit that each
entry belongs to. Out: a figure, its 95 % interval, and the figure of each dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Values = Sequence[np.ndarray]
"""One float array [entries] for each dictionary."""
Figure = Callable[[int, np.ndarray], np.ndarray]
"""From the number of a dictionary and weights [k, entries] of its entries to a figure for each row of weights."""
DRAWS = 1000


@dataclass(frozen=True)
class Draws:
    """How often each entry of each dictionary was drawn, draw by draw."""

    weights: tuple[np.ndarray, ...]
    """float64 [draws, entries] of each dictionary."""
    mixture: np.ndarray
    """float64 [dictionaries, draws]: how much each dictionary counts in a draw; columns sum to 1."""

    @classmethod
    def of_concepts(cls, units: Sequence[np.ndarray], seed: int, draws: int = DRAWS) -> Draws:
        """Each draw takes one dictionary and as many of its units as it has, with replacement.

        So the interval is that of one dictionary, the spread between seeds included. `units`: for each dictionary the
        unit of each entry; entries of one unit are drawn together.
        """
        rng = np.random.default_rng(seed)
        chosen = rng.integers(len(units), size=draws)
        weights = tuple(_times(rng, unit, draws) for unit in units)
        return cls(weights, (chosen == np.arange(len(units))[:, None]).astype(np.float64))

    @classmethod
    def of_labels(cls, labels: Sequence[np.ndarray], seed: int, draws: int = DRAWS) -> Draws:
        """Each draw takes as many labels as there are, with replacement, the same for all dictionaries.

        Concepts of one label are often named alike, rightly or wrongly: this interval does not count them as many.
        """
        rng = np.random.default_rng(seed)
        together = np.concatenate(labels)
        weights = _times(rng, together, draws)
        stops = np.cumsum([len(part) for part in labels])[:-1]
        return cls(tuple(np.split(weights, stops, axis=1)), np.full((len(labels), draws), 1 / len(labels)))

    def value(self, figure: Figure) -> float:
        """The figure's mean over the dictionaries, each entry counted once."""
        return float(np.mean(self.each(figure)))

    def each(self, figure: Figure) -> list[float]:
        """The figure of each dictionary."""
        return [float(figure(i, np.ones((1, w.shape[1])))[0]) for i, w in enumerate(self.weights)]

    def drawn(self, figure: Figure) -> np.ndarray:
        """[draws] the figure of each draw."""
        found = np.stack([figure(i, weights) for i, weights in enumerate(self.weights)])
        return np.where(self.mixture > 0, found * self.mixture, 0).sum(0)


def share(values: Values) -> Figure:
    """The mean of the entries' values."""
    return quotient(values, [np.ones(len(of)) for of in values])


def quotient(above: Values, below: Values) -> Figure:
    """The sum of one over the sum of the other; NaN where the latter is 0."""

    def figure(i: int, weights: np.ndarray) -> np.ndarray:
        total = weights @ below[i]
        return np.divide(weights @ above[i], total, out=np.full(len(weights), np.nan), where=total > 0)

    return figure


def surest(values: Values, confidence: Values, part: float) -> Figure:
    """The mean of the values of the surest `part` of the entries (of the last one so much as is needed)."""

    def figure(i: int, weights: np.ndarray) -> np.ndarray:
        order = np.argsort(-confidence[i], kind="stable")
        ordered = weights[:, order]
        wanted = part * ordered.sum(1, keepdims=True)
        before = ordered.cumsum(1) - ordered
        taken = np.clip(wanted - before, 0, ordered)
        total = taken.sum(1)
        return np.divide(taken @ values[i][order], total, out=np.full(len(weights), np.nan), where=total > 0)

    return figure


def interval(figures: np.ndarray) -> tuple[float, float]:
    """95 % of what the draws gave; draws without a figure (0 / 0) are left out."""
    known = figures[~np.isnan(figures)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975], method="nearest")  # ratios may be infinite
    return float(low), float(high)


def ratio(draws: Draws, above: Figure, below: Figure) -> tuple[float, tuple[float, float]]:
    """One figure over another, from the means over the dictionaries; and its interval, both from the same draws."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.float64(draws.value(above)) / np.float64(draws.value(below))
        drawn = draws.drawn(above) / draws.drawn(below)
    return float(value), interval(drawn)


def _times(rng: np.random.Generator, units: np.ndarray, draws: int) -> np.ndarray:
    """[draws, entries] how often the unit of each entry was drawn."""
    distinct, place = np.unique(units, return_inverse=True)
    n = len(distinct)
    if not n:
        return np.zeros((draws, 0))
    return rng.multinomial(n, np.full(n, 1 / n), size=draws)[:, place].astype(np.float64)
