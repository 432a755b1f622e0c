"""Figures of several dictionaries on the same photographs, with intervals: photographs and dictionaries drawn anew.

In: for each dictionary what it gave on every photograph. Out: `Figure`s for `benchmarks.concepts.draws`: from how
often each photograph was drawn to a figure for each draw. Two figures on the same draws are compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.concepts.draws import Draws, Figure, interval, ratio
from benchmarks.heads.settings import DRAW
from benchmarks.probes.metrics import mean_iou

Row = dict[str, Any]


def of_photos(photos: int, dictionaries: int) -> Draws:
    """Draws of as many photographs as there are, and of one of the dictionaries."""
    return Draws.of_concepts([np.arange(photos)] * dictionaries, DRAW)


def difference(draws: Draws, of: Figure, less: Figure) -> tuple[float, tuple[float, float]]:
    """One figure less another, and its interval, both from the same draws."""
    return draws.value(of) - draws.value(less), interval(draws.drawn(of) - draws.drawn(less))


def auc(scores: Sequence[np.ndarray], truth: np.ndarray) -> Figure:
    """Area under the ROC curve: the chance that a photograph of the class scores above another; ties count half.

    scores: float [n] of each dictionary; truth: bool [n].
    """
    ranked = [np.unique(one, return_inverse=True)[1] for one in scores]

    def figure(i: int, weights: np.ndarray) -> np.ndarray:
        width = int(ranked[i].max()) + 1
        place = torch.from_numpy(ranked[i])
        of, other = (
            torch.zeros(len(weights), width, dtype=torch.float64).index_add_(1, place, torch.from_numpy(weights * one))
            for one in (truth, ~truth)
        )
        won = (of * (other.cumsum(1) - other / 2)).sum(1)
        total = of.sum(1) * other.sum(1)
        return torch.where(total > 0, won / total, torch.nan).numpy()

    return figure


def iou(tables: Sequence[np.ndarray]) -> Figure:
    """Mean IoU of the summed tables [n, c, c] of (truth, answer) of each dictionary."""
    flat = [table.reshape(len(table), -1).astype(np.float64) for table in tables]

    def figure(i: int, weights: np.ndarray) -> np.ndarray:
        width = tables[i].shape[1]
        return mean_iou(torch.from_numpy(weights @ flat[i]).unflatten(1, (width, width))).numpy()

    return figure


def means(above: Sequence[np.ndarray], below: Sequence[np.ndarray]) -> Figure:
    """Mean over columns of the sum over photographs of one [n, c] over that of the other; columns without are left out.

    Locality of parts, for instance: the best IoU of each part in each image, and where the part is.
    """

    def figure(i: int, weights: np.ndarray) -> np.ndarray:
        top, bottom = weights @ above[i], weights @ below[i]
        return mean_of_columns(top, bottom, bottom > 0)

    return figure


def mean_of_columns(above: np.ndarray, below: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[draws] mean of the quotients [draws, c] over the columns where `known`; NaN where none is."""
    quotients = np.divide(above, below, out=np.zeros_like(above), where=known)
    counts = known.sum(1)
    return np.divide(quotients.sum(1), counts, out=np.full(len(counts), np.nan), where=counts > 0)


def row(base: Row, draws: Draws, figure: Figure) -> Row:
    """A row of one figure: its mean over the dictionaries, interval, and the figure of each."""
    return {**base, "value": draws.value(figure), "interval": interval(draws.drawn(figure)), "each": draws.each(figure)}


def ratio_row(base: Row, draws: Draws, above: Figure, below: Figure) -> Row:
    """A row of one figure over another."""
    value, bounds = ratio(draws, above, below)
    pairs = zip(draws.each(above), draws.each(below), strict=True)
    return {**base, "value": value, "interval": bounds, "each": [a / b if b else None for a, b in pairs]}


def difference_row(base: Row, draws: Draws, of: Figure, less: Figure) -> Row:
    """A row of one figure less another."""
    value, bounds = difference(draws, of, less)
    pairs = zip(draws.each(of), draws.each(less), strict=True)
    return {**base, "value": value, "interval": bounds, "each": [a - b for a, b in pairs]}
