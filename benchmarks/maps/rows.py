"""Rows of `benchmarks.attribution`, from what `judge` says of each pair.

A row: {"part", "data", "images", "pairs", "model", "by", "figure", "against", "value", "interval"}. Intervals are over
photographs drawn anew; a difference is of the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.maps.settings import CENTRE, M2IB, OURS, RANDOM, RELEVANCE, WRONG
from insight.evaluation import mean_over_images
from insight.evaluation.judging import Row as Judged

PLACES = ("average precision", "matched iou", "iou", "pointing", "energy")
CHANGES = ("drop", "increase", "deletion", "insertion", "fidelity")


def rows_of(part: str, data: str, judged: Iterable[Judged], figures: tuple[str, ...]) -> list[dict[str, Any]]:
    """Means of every explainer on every model, and the differences that claims are made of."""
    table: dict[tuple[str, str], list[Judged]] = {}
    for row in judged:
        table.setdefault((row.model, row.explainer), []).append(row)
    rows = []
    for (model, by), own in table.items():
        photos = np.array([row.photo for row in own])
        base = {"part": part, "data": data, "images": len(set(photos.tolist())), "pairs": len(own), "model": model}
        for figure in (*figures, "seconds"):
            rows.append({**base, "by": by, "against": None, **_mean(figure, _values(own, figure), photos)})
        for against in _held_against(by):
            other = table.get((model, against))
            if other is not None:
                for figure in figures:
                    difference = _values(own, figure) - _values(other, figure)
                    rows.append({**base, "by": by, "against": against, **_mean(figure, difference, photos)})
    return rows


def _held_against(by: str) -> tuple[str, ...]:
    if by == OURS:
        return (M2IB, CENTRE, RANDOM)
    if by in (M2IB, RELEVANCE):
        return (CENTRE, RANDOM)
    return ("similarity",) if by == WRONG else ()


def _values(own: list[Judged], figure: str) -> np.ndarray:
    return np.array([row.measures[figure] for row in own])


def _mean(figure: str, values: np.ndarray, photos: np.ndarray) -> dict[str, Any]:
    found = mean_over_images(values, photos)
    return {"figure": figure, "value": found.value, "interval": [found.low, found.high]}
