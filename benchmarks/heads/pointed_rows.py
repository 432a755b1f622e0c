"""Rows of `benchmarks.grounding` on whether the concept of a label points at it: chosen on training photographs alone.

For each label one concept: the one that points at it most often, or, for IoU, the one that with some cutoff overlaps it
best. Both are then scored on test photographs. A row is as in `grounded_rows`, without budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.concepts.draws import Figure
from benchmarks.heads.dictionaries import Made
from benchmarks.heads.figures import Row, mean_of_columns, means, of_photos, row
from benchmarks.heads.grounded import as_asked
from benchmarks.heads.masked import Masked
from insight.evaluation import CutoffScores, Pointing, PointingMeter, choose_cutoffs, score_cutoffs
from sae import SparseCodes

PART = "pointing"
HITS, ENERGY, OVERLAP = "pointing game", "energy in the mask", "IoU with the best concept and cutoff"
CENTRE, ANYWHERE = "always the centre", "anywhere, by chance"


@dataclass(frozen=True)
class Pointed:
    """One dictionary on the test photographs, with concepts and cutoffs that the training photographs chose.

    hits, energy: float64 [n, labels].
    """

    made: Made
    hits: np.ndarray
    energy: np.ndarray
    overlap: CutoffScores


def rows_of(masked: Masked, dictionaries: Sequence[Made]) -> list[Row]:
    """All rows of one set."""
    masked = as_asked(masked)
    found = [(made, *_pointed(masked, made)) for made in dictionaries]
    base: Row = {"part": PART, "data": masked.name, "images": len(masked.test), "against": None}
    some = found[0][1]
    there = (some.area > 0).astype(np.float64)
    rows = []
    for name in dict.fromkeys(made.spec.name for made in dictionaries):
        kind = [one for made, _, one in found if made.spec.name == name]
        draws = of_photos(base["images"], len(kind))
        figures = {
            HITS: means([one.hits * there for one in kind], [there] * len(kind)),
            ENERGY: means([one.energy * there for one in kind], [there] * len(kind)),
            OVERLAP: _overlap([one.overlap for one in kind]),
        }
        rows += [row({**base, "by": name, "figure": figure}, draws, of) for figure, of in figures.items()]
    draws = of_photos(base["images"], 1)
    for by, values in ((CENTRE, some.centre.astype(np.float64)), (ANYWHERE, some.area)):
        rows.append(row({**base, "by": by, "figure": HITS}, draws, means([values * there], [there])))
    return rows


@torch.no_grad()
def _pointed(masked: Masked, made: Made) -> tuple[Pointing, Pointed]:
    """What the concepts of one dictionary do on the test photographs."""
    labels, tokens = masked.labels, masked.test.cache.tokens_per_image
    codes = SparseCodes.cat([made.dictionary.encode(features) for _, features in masked.train.chunks()])
    cutoffs = choose_cutoffs(codes, masked.train.classes, len(labels))
    meters = [PointingMeter(made.dictionary.n_concepts, labels, masked.test.cache.grid) for _ in range(2)]
    scores = []
    for photos, meter in zip((masked.train, masked.test), meters, strict=True):
        for places, features in photos.chunks():
            codes, classes = made.dictionary.encode(features), photos.classes[places]
            meter.update(codes, classes.reshape(-1, *photos.cache.grid))
            if photos is masked.test:
                scores.append(score_cutoffs(codes, classes, tokens, cutoffs))
    best, found = meters[0].result().best_concepts(), meters[1].result()
    parts = ("common", "either", "present")
    overlap = CutoffScores(*(np.concatenate([getattr(one, part) for one in scores]) for part in parts))
    return found, Pointed(made, found.hits_of(best), found.energy_of(best), overlap)


def _overlap(found: Sequence[CutoffScores]) -> Figure:
    """Mean over labels of IoU over the patches of all photographs of a draw."""

    def figure(i: int, weights: np.ndarray) -> np.ndarray:
        common, either, there = (
            weights @ part.astype(np.float64) for part in (found[i].common, found[i].either, found[i].present)
        )
        return mean_of_columns(common, either, there > 0)

    return figure
