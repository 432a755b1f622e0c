"""Probes for a label: linear on features, k-sparse on codes, and splitting, what k concepts gain over one.

In: tokens that have the label and tokens that do not, any label. Out: a direction; concepts, with F1 on other tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..codes import SparseCodes
from ..errors import InsightError

if TYPE_CHECKING:
    from scipy.sparse import csc_array

SPLIT_GAIN = 0.03
"""A further concept counts as a part of a split label when it raises the probe's F1 by more than this (SAEBench)."""


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Where features show a label: x · direction > offset."""

    direction: Tensor
    """float64 [d], unit."""
    offset: float


@dataclass(frozen=True, eq=False)
class SparseProbe:
    """The first k concepts of a label, and how well probes on the first 1, 2, … k of them find it."""

    concepts: Tensor
    """int64 [k], in the order they were chosen; fewer than asked for when no other concept speaks for the label."""
    f1: Tensor
    """float64 [k]: F1 on held-out tokens of the probe on the first 1, 2, … k concepts."""

    @property
    def gain(self) -> float:
        """Splitting: F1 of all k concepts less F1 of the first; NaN when there is none."""
        return float(self.f1[-1] - self.f1[0]) if len(self.f1) else float("nan")

    @property
    def main(self) -> Tensor:
        """int64: the label's own concepts, the first and those after it while each adds more than `SPLIT_GAIN`.

        More than one says that the label is split.
        """
        weak = (self.f1.diff() <= SPLIT_GAIN).nonzero()[:, 0]
        return self.concepts[: int(weak[0]) + 1] if len(weak) else self.concepts


def linear_probe(features: Tensor, positive: Tensor) -> LinearProbe:
    """Logistic regression (L2, classes weighed alike) on features [n, d]; `positive` bool [n]: which have the label."""
    from sklearn.linear_model import LogisticRegression

    y = _labels(positive, len(features))
    x = features.detach().double().cpu()
    mean = x.mean(0)
    scale = (x - mean).square().mean().sqrt()
    if not bool(scale > 0) or not bool(scale.isfinite()):
        raise InsightError("linear_probe: expected finite features that vary, found constant ones, NaN or infinity")
    model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(((x - mean) / scale).numpy(), y)
    weight = torch.from_numpy(model.coef_[0])
    direction = weight / weight.norm()
    return LinearProbe(direction, float(mean @ direction - scale * float(model.intercept_[0]) / weight.norm()))


def sparse_probe(
    codes: SparseCodes, positive: Tensor, held_out: SparseCodes, held_out_positive: Tensor, *, k: int = 8
) -> SparseProbe:
    """Probes on the 1, 2, … k concepts that best tell the tokens with a label from the others.

    `positive` and `held_out_positive`, bool, one for each row. Both classes weigh alike. Concepts are chosen one after
    the other, by matching pursuit: the next one is that whose activations have the largest cosine with what the
    logistic regression on those chosen still misses (y - p), so what a first concept leaves out is what a second one is
    chosen for. Only concepts that speak for the label are taken. (SAEBench ranks by an L1 probe instead; the
    1-sparse probe and the gain are the same idea.) O(k · nnz) and k logistic regressions on [n, k].
    """
    from sklearn.linear_model import LogisticRegression

    y, held_out_y = _labels(positive, codes.n), _labels(held_out_positive, held_out.n)
    if codes.n_concepts != held_out.n_concepts:
        found = f"{codes.n_concepts} and {held_out.n_concepts} concepts"
        raise InsightError(f"sparse_probe: expected codes of one dictionary, found {found}")
    columns, held_out_columns = _columns(codes), _columns(held_out)
    weight = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    squares = columns.copy()
    squares.data **= 2
    lengths = np.sqrt(squares.T @ weight)
    fires = lengths > 0
    missed = y - 0.5
    chosen: list[int] = []
    f1: list[float] = []
    for _ in range(min(k, codes.n_concepts)):
        score = np.divide(columns.T @ (weight * missed), lengths, out=np.full(len(lengths), -np.inf), where=fires)
        score[chosen] = -np.inf
        if not score.max() > 0:
            break
        chosen.append(int(score.argmax()))
        inputs = columns[:, chosen].toarray() / lengths[chosen] * np.sqrt(codes.n)
        model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(inputs, y)
        missed = y - model.predict_proba(inputs)[:, 1]
        predicted = model.predict(held_out_columns[:, chosen].toarray() / lengths[chosen] * np.sqrt(codes.n))
        f1.append(2 * float((predicted & held_out_y).sum()) / float(predicted.sum() + held_out_y.sum()))
    return SparseProbe(torch.tensor(chosen, dtype=torch.int64), torch.tensor(f1, dtype=torch.float64))


def _labels(positive: Tensor, n: int) -> np.ndarray:
    if positive.shape != (n,) or positive.dtype != torch.bool:
        found = f"{str(positive.dtype).removeprefix('torch.')} {list(positive.shape)}"
        raise InsightError(f"probe: expected a bool for each of {n} tokens, found {found}")
    have = int(positive.sum())
    if not 0 < have < n:
        raise InsightError(f"probe: expected tokens with and without the label, found {have} of {n} that have it")
    return positive.cpu().numpy()


def _columns(codes: SparseCodes) -> csc_array:
    return replace(codes, activations=codes.activations.double()).to_scipy().tocsc()
