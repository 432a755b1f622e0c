"""Rows of `benchmarks.methods`: figures of arms on a set, and what they have more than their controls.

A row: {"part", "data", "images", "by", "figure", "against", "value", "interval", "each"}: the mean over seeds;
intervals are over the tested photographs, drawn anew with the size of each class kept; a difference is of the same
draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.tuned.fitted import Answers
from benchmarks.tuned.settings import DRAW, DRAWS, TOP_PAIRS, Arm
from insight.evaluation import interval
from insight.evaluation.classification import accuracy, calibration_error, macro_auc
from insight.evaluation.doubly_right import doubly_right

Row = dict[str, Any]
Figure = Callable[[np.ndarray], np.ndarray]
CLASSES: dict[str, Callable[[np.ndarray, np.ndarray], Figure]] = {
    "AUC": macro_auc,
    "accuracy": accuracy,
    "calibration error": calibration_error,
}


def class_rows(part: str, data: str, truth: np.ndarray, found: dict[str, tuple[Arm, list[Answers]]]) -> list[Row]:
    """Of every arm, and of its control taken off it."""
    rows = []
    for name, (arm, seeds) in found.items():
        base = {"part": part, "data": data, "images": len(truth), "by": name}
        for figure, make in CLASSES.items():
            own = [make(one.probabilities, truth) for one in seeds]
            rows.append(row({**base, "figure": figure, "against": None}, own, None, truth))
            if arm.control in found:
                others = [make(one.probabilities, truth) for one in found[arm.control][1]]
                rows.append(row({**base, "figure": figure, "against": arm.control}, own, others, truth))
        seconds = float(np.mean([one.seconds for one in seeds]))
        rows.append({**base, "figure": "seconds", "against": None, "value": seconds, "interval": None, "each": None})
    return rows


def concept_rows(
    part: str, data: str, gold: np.ndarray, truth: np.ndarray, found: dict[str, tuple[Arm, list[Answers]]]
) -> list[Row]:
    """Mean over concepts of the AUC with which a concept's score tells the photographs that have it. gold: [n, R]."""
    rows = []
    for name, (arm, seeds) in found.items():
        base = {"part": part, "data": data, "images": len(gold), "by": name, "figure": "concept AUC"}
        own = [_concept_auc(one.concepts, gold) for one in seeds if one.concepts is not None]
        if own:
            rows.append(row({**base, "against": None}, own, None, truth))
        control = found[arm.control][1] if arm.control in found else []
        others = [_concept_auc(one.concepts, gold) for one in control if one.concepts is not None]
        if own and others:
            rows.append(row({**base, "against": arm.control}, own, others, truth))
    return rows


def pair_rows(
    part: str, data: str, gold: np.ndarray, truth: np.ndarray, found: dict[str, tuple[Arm, list[Answers]]]
) -> list[Row]:
    """Doubly Right by integer ids: class right and right for a reason that is right, among the best pairs."""
    rows = []
    for name, (arm, seeds) in found.items():
        base = {"part": part, "data": data, "images": len(gold), "by": name}
        for outcome in ("RR", "RW", "WR", "WW"):
            own = [_share(one, gold, truth, outcome) for one in seeds if one.pairs is not None]
            if own:
                rows.append(row({**base, "figure": outcome, "against": None}, own, None, truth))
            control = found[arm.control][1] if arm.control in found else []
            others = [_share(one, gold, truth, outcome) for one in control if one.pairs is not None]
            if own and others and outcome == "RR":
                rows.append(row({**base, "figure": outcome, "against": arm.control}, own, others, truth))
    return rows


def row(base: Row, own: Sequence[Figure], less: Sequence[Figure] | None, truth: np.ndarray) -> Row:
    """Mean of the figures over seeds, or its difference to another mean."""

    def figure(weights: np.ndarray) -> np.ndarray:
        mean = np.mean([one(weights) for one in own], axis=0)
        return mean if less is None else mean - np.mean([one(weights) for one in less], axis=0)

    once = np.ones((1, len(truth)))
    bounds = interval(figure, len(truth), draws=DRAWS, seed=DRAW, strata=truth)
    each = [float(one(once)[0]) for one in own] if less is None and len(own) > 1 else None
    return {**base, "value": float(figure(once)[0]), "interval": [*bounds], "each": each}


def _concept_auc(scores: np.ndarray, gold: np.ndarray) -> Figure:
    """Over the concepts that some photographs have and some have not."""
    figures = []
    for concept in np.flatnonzero((gold.any(0)) & (~gold.all(0))):
        shifted = scores[:, concept] - scores[:, concept].min()
        share = shifted / max(shifted.max(), 1e-12)
        figures.append(macro_auc(np.stack([1 - share, share], axis=1), gold[:, concept].astype(np.int64)))
    return lambda weights: np.nanmean([one(weights) for one in figures], axis=0)


def _share(answers: Answers, gold: np.ndarray, truth: np.ndarray, outcome: str) -> Figure:
    assert answers.pairs is not None
    found = doubly_right(answers.pairs[:, :TOP_PAIRS], truth, gold).outcome
    hit = (found == ("RR", "RW", "WR", "WW").index(outcome)).astype(np.float64)
    return lambda weights: weights @ hit / weights.sum(1)
