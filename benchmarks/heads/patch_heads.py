"""Linear heads on patches: logistic regression on features or codes, its strength chosen on training photographs.

In: masked photographs and a way to read their patches as rows. Out: `PatchHead`, from rows to a score for each class.
All heads have one solver (L-BFGS with an L2 penalty). Opaque features are scaled to unit size, codes half way there, as
`insight.heads` does by default.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from benchmarks.heads.masked import Photos
from benchmarks.heads.settings import DRAW, HEAD_ITERATIONS, HEAD_STRENGTHS, HEAD_TOKENS, HELD_SHARE
from benchmarks.probes.metrics import confusion, mean_iou

NEVER = -1e4
"""Score of a class that no training patch had: finite, for scores are drawn out to pixels."""
Rows: TypeAlias = "np.ndarray | csr_array"


@dataclass(frozen=True)
class PatchHead:
    """weights: [F, C] in raw units of the rows; bias: [C]; strength: the C that was chosen."""

    weights: np.ndarray
    bias: np.ndarray
    strength: float

    def scores(self, rows: Rows) -> Tensor:
        """float32 [n, C]."""
        return torch.from_numpy(np.asarray(rows @ self.weights) + self.bias).float()


@dataclass(frozen=True)
class Patches:
    """The labelled patches that heads are fitted on. rows: int64, of all patches of the photographs one after the
    other, ascending; classes: int64 of each; held: bool, whether its photograph is one that strengths are chosen by."""

    rows: np.ndarray
    classes: np.ndarray
    held: np.ndarray

    @classmethod
    def of(cls, photos: Photos) -> Patches:
        """As many as `HEAD_TOKENS`, drawn from all labelled ones."""
        rng = np.random.default_rng(DRAW)
        classes = photos.classes.astype(np.int64).ravel()
        labelled = np.flatnonzero(classes >= 0)
        rows = np.sort(rng.permutation(labelled)[:HEAD_TOKENS])
        held = np.zeros(len(photos), dtype=bool)
        held[rng.permutation(len(photos))[: max(1, round(HELD_SHARE * len(photos)))]] = True
        return cls(rows, classes[rows], held[rows // photos.classes.shape[1]])

    def within(self, places: slice, tokens: int) -> np.ndarray:
        """Of the patches of these photographs, those taken: int64, counted from the first of them."""
        first, last = np.searchsorted(self.rows, [places.start * tokens, places.stop * tokens])
        found: np.ndarray = self.rows[first:last] - places.start * tokens
        return found


def stacked(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else csr_array(vstack(parts, format="csr"))


def fit_head(rows: Rows, patches: Patches, n_classes: int, strengths: Sequence[float] = HEAD_STRENGTHS) -> PatchHead:
    """The head of the strength that gives the held photographs' patches the best mIoU, fitted on all patches."""
    scale = _scale(rows)
    unit = rows / scale if isinstance(rows, np.ndarray) else csr_array(rows * (1 / scale)[None])
    found = []
    for strength in strengths if len(strengths) > 1 else ():
        weights, bias = _fitted(unit[~patches.held], patches.classes[~patches.held], n_classes, strength)
        answers = (np.asarray(unit[patches.held] @ weights) + bias).argmax(1)
        truth = torch.from_numpy(patches.classes[patches.held])[None]
        found.append(float(mean_iou(confusion(torch.from_numpy(answers)[None], truth, n_classes)[0])))
    best = strengths[int(np.argmax(found)) if found else 0]
    weights, bias = _fitted(unit, patches.classes, n_classes, best)
    return PatchHead((weights / scale[:, None]).astype(np.float32), bias.astype(np.float32), best)


def shuffled(patches: Patches) -> Patches:
    """The same with labels dealt anew among them."""
    rng = np.random.default_rng(DRAW)
    return Patches(patches.rows, rng.permutation(patches.classes), patches.held)


def _scale(rows: Rows) -> np.ndarray:
    """Root mean square of each feature, of codes its geometric mean with the largest; 1 for those that are always 0."""
    squares = np.square(rows).mean(0) if isinstance(rows, np.ndarray) else rows.power(2).mean(0)
    scale = np.sqrt(np.asarray(squares, dtype=np.float64)).ravel()
    scale = scale if isinstance(rows, np.ndarray) else np.sqrt(scale * scale.max())
    return np.where(scale > 0, scale, 1).astype(np.float32)


def _fitted(rows: Rows, classes: np.ndarray, n_classes: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights [F, C] and bias [C]; classes without patches are never the answer."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all heads stop after as many iterations
        head = LogisticRegression(C=strength, max_iter=HEAD_ITERATIONS).fit(rows, classes)
    coef, intercept = head.coef_, head.intercept_
    if len(head.classes_) == 2:
        coef, intercept = np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    weights = np.zeros((rows.shape[1], n_classes))
    bias = np.full(n_classes, NEVER)
    weights[:, head.classes_], bias[head.classes_] = coef.T, intercept
    return weights, bias
