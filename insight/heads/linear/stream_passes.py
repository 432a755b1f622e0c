"""The two ways a streamed fit reads all batches: for what is exact at given weights, and for steps.

In: batches of scaled rows. Out: `Snapshot`s and weights. Everything float64, on one device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from .fit import LinearFit
from .stream_data import Batches, Moments, read_batches
from .stream_state import Snapshot

LEAST_CURVATURE = 0.01
"""Of that at the start: a weight whose rows are all decided has almost none, and would leap."""


@dataclass(frozen=True)
class Batch:
    """Scaled rows on the device, as they are and turned, and what they should be."""

    x: Tensor
    """Sparse [b, F]."""
    turned: Tensor
    """Sparse [F, b]."""
    targets: Float64[Tensor, "b rows"]
    share: Float64[Tensor, "b 1"]
    """Of the weight of all rows."""
    offset: Float64[Tensor, "b rows"] | float
    """Fixed logits."""


@dataclass(frozen=True)
class Passes:
    """Passes over the batches of one problem."""

    batches: Batches
    moments: Moments
    alpha: float
    l1_ratio: float
    fit_intercept: bool
    device: torch.device

    @property
    def rows(self) -> int:
        """Rows of W: one for two classes, else C."""
        return 1 if self.moments.n_classes == 2 else self.moments.n_classes

    @property
    def centre(self) -> Float64[Tensor, "F 1"]:
        """What features count from: their scaled mean; 0 without an intercept, which would have to make up for it."""
        mean = self.moments.scaled_mean if self.fit_intercept else np.zeros_like(self.moments.scaled_mean)
        return torch.from_numpy(mean)[:, None].to(self.device)

    def start(self, fit: LinearFit | None) -> tuple[Float64[Tensor, "F rows"], Float64[Tensor, " rows"]]:
        """Those of a fit; without one weights 0, and the intercept that is best then (without offsets)."""
        if fit is not None:
            weights = torch.from_numpy((fit.coef * self.moments.scale).T.copy()).to(self.device)
            intercept = torch.from_numpy(fit.intercept).to(self.device)
            return weights, intercept + (self.centre * weights).sum(0) if self.fit_intercept else intercept * 0
        weights = torch.zeros(len(self.moments.scale), self.rows, dtype=torch.float64, device=self.device)
        intercept = torch.zeros(self.rows, dtype=torch.float64)
        if self.fit_intercept:
            share = torch.from_numpy(self.moments.class_share).log()
            intercept = share[1:] - share[:1] if self.rows == 1 else share - share.mean()
        return weights, intercept.to(self.device)

    def snapshot(
        self, weights: Float64[Tensor, "F rows"], intercept: Float64[Tensor, " rows"], *, epoch: int, step: float
    ) -> Snapshot:
        """All that an epoch must know at given weights, exactly, from one pass."""
        centre, n = self.centre, self.moments.n
        loss, seen = 0.0, 0
        gradient, curvature = torch.zeros_like(weights), torch.zeros_like(weights)
        pull, bend = torch.zeros_like(intercept), torch.zeros_like(intercept)
        for batch in self._read(epoch):
            logits = batch.x @ weights + (intercept - (centre * weights).sum(0)) + batch.offset
            probabilities = self._probabilities(logits)
            residuals = (probabilities - batch.targets) * batch.share
            spread = probabilities * (1 - probabilities) * batch.share
            loss += float(self._losses(logits, batch.targets) @ batch.share[:, 0])
            gradient += batch.turned @ residuals
            curvature += _squared(batch.turned) @ spread
            pull += residuals.sum(0)
            bend += spread.sum(0)
            seen += len(logits)
        if seen != n:
            raise InsightError(
                f"batches: expected the same rows in every epoch, found {n} in one and {seen} in another"
            )
        violation = self._violation(weights, gradient, pull)
        gradient -= centre * pull
        curvature += centre**2 * bend  # of rows centred: at most this, as features are hardly ever negative
        size = weights.abs().sum() * self.l1_ratio + weights.square().sum() * (1 - self.l1_ratio) / 2
        return Snapshot(
            weights=weights,
            intercept=intercept,
            gradient=gradient,
            intercept_gradient=pull,
            curvature=curvature,
            intercept_curvature=bend,
            objective=loss + self.alpha * float(size),
            violation=violation,
            epoch=epoch,
            step=step,
        )

    def steps(self, at: Snapshot) -> tuple[Float64[Tensor, "F rows"], Float64[Tensor, " rows"]]:
        """Weights and intercept after one step a batch, from a snapshot on."""
        l1, l2 = self.alpha * self.l1_ratio, self.alpha * (1 - self.l1_ratio)
        centre = self.centre
        share = torch.from_numpy(self.moments.class_share).to(self.device)
        start = (share * (1 - share))[-self.rows :] * LEAST_CURVATURE
        square = torch.from_numpy(self.moments.scaled_square)[:, None].to(self.device)
        length = at.step / (torch.maximum(at.curvature, start * square) + l2)
        length[square[:, 0] == 0] = 0  # features that are always 0
        length_of_intercept = at.step / torch.maximum(at.intercept_curvature, start)
        weights, intercept = at.weights.clone(), at.intercept.clone()
        shift = at.intercept - (centre * at.weights).sum(0)
        for batch in self._read(at.epoch):
            logits = batch.x @ torch.cat([weights, at.weights], 1)
            moved_shift = intercept - (centre * weights).sum(0)
            here = self._probabilities(logits[:, : self.rows] + moved_shift + batch.offset)
            there = self._probabilities(logits[:, self.rows :] + shift + batch.offset)
            change = (here - there) * (batch.share * (self.moments.n / len(here)))
            pull = change.sum(0)
            gradient = batch.turned @ change - centre * pull + at.gradient + l2 * weights
            moved = weights - length * gradient
            weights = moved.sign() * (moved.abs() - length * l1).clamp(min=0)
            if self.fit_intercept:
                intercept = intercept - length_of_intercept * (pull + at.intercept_gradient)
        return weights, intercept

    def fit(self, at: Snapshot, tol: float) -> LinearFit:
        """A snapshot in raw units."""
        intercept = at.intercept - (self.centre * at.weights).sum(0)
        if self.rows > 1 and self.fit_intercept:
            intercept = intercept - intercept.mean()
        return LinearFit(
            coef=at.weights.T.cpu().numpy() / self.moments.scale,
            intercept=intercept.cpu().numpy(),
            alpha=self.alpha,
            l1_ratio=self.l1_ratio,
            objective=at.objective,
            violation=at.violation,
            iterations=at.epoch,
            converged=at.violation <= tol,
        )

    def _read(self, epoch: int) -> Iterator[Batch]:
        scale = self.moments.scale
        for batch in read_batches(self.batches, epoch, len(scale), self.moments.n_classes):
            x, targets, offset = batch.x, batch.targets, batch.offset
            scaled = csr_array((x.data / scale[x.indices], x.indices, x.indptr), shape=x.shape)
            if self.rows == 1:
                targets = np.ascontiguousarray(targets[:, 1:])
                offset = None if offset is None else offset[:, 1:] - offset[:, :1]
            yield Batch(
                self._on_device(scaled),
                self._on_device(scaled.T.tocsr()),
                torch.from_numpy(targets).to(self.device),
                torch.from_numpy(batch.weight[:, None] / self.moments.weight).to(self.device),
                0.0 if offset is None else torch.from_numpy(offset).to(self.device),
            )

    def _on_device(self, rows: csr_array) -> Tensor:
        starts, places = (torch.from_numpy(part.astype(np.int64)) for part in (rows.indptr, rows.indices))
        return torch.sparse_csr_tensor(
            starts, places, torch.from_numpy(rows.data), size=rows.shape, check_invariants=False
        ).to(self.device)

    def _probabilities(self, logits: Float64[Tensor, "b rows"]) -> Float64[Tensor, "b rows"]:
        return logits.sigmoid() if self.rows == 1 else logits.softmax(1)

    def _losses(self, logits: Float64[Tensor, "b rows"], targets: Float64[Tensor, "b rows"]) -> Float64[Tensor, " b"]:
        """Cross-entropy of each row."""
        if self.rows == 1:
            return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")[:, 0]
        return logits.logsumexp(1) - (targets * logits).sum(1)

    def _violation(
        self, weights: Float64[Tensor, "F rows"], gradient: Float64[Tensor, "F rows"], pull: Float64[Tensor, " rows"]
    ) -> float:
        """The largest violation of the conditions of optimality, relative to alpha."""
        l1, l2 = self.alpha * self.l1_ratio, self.alpha * (1 - self.l1_ratio)
        at_zero = (gradient.abs() - l1).clamp(min=0)
        used = (gradient + l2 * weights + l1 * weights.sign()).abs()
        breach = torch.where(weights == 0, at_zero, used).max()
        if self.fit_intercept:
            breach = torch.maximum(breach, pull.abs().max())
        return float(breach) / self.alpha


def _squared(rows: Tensor) -> Tensor:
    squares = rows.values().square()
    return torch.sparse_csr_tensor(
        rows.crow_indices(), rows.col_indices(), squares, size=rows.shape, check_invariants=False
    )
