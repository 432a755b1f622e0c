"""The objective of sparse logistic regression, checked input and scaled rows inside.

In: rows, targets, weights and offsets as people give them. Out: loss, residuals, gradients and violations of the
conditions of optimality, everything in float64 and in the units of the scaled features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csc_array, csr_array, issparse
from scipy.special import expit

from sae.errors import InsightError

from .scaling import Scale, feature_scale


@dataclass(frozen=True)
class Problem:
    """Rows whose features are scaled, the share of each row in the loss, and what each should be."""

    x: csr_array
    """float64 [n, F], scaled; no entry twice, none of them 0."""
    scale: Float64[np.ndarray, " F"]
    share: Float64[np.ndarray, " n"]
    """Sample weights that sum to 1."""
    labels: Int64[np.ndarray, " n"] | None
    """Class numbers; None when the targets are soft."""
    targets: Float64[np.ndarray, "rows n"] | None
    """Soft targets, a row a class; of two classes the share of class 1 alone."""
    offset: Float64[np.ndarray, "rows n"] | None
    n_classes: int
    fit_intercept: bool

    @cached_property
    def columns(self) -> csc_array:
        """The scaled rows by column."""
        return self.x.tocsc()

    @property
    def n_rows_of_weights(self) -> int:
        """Rows of W: one for two classes, else C."""
        return 1 if self.n_classes == 2 else self.n_classes

    @cached_property
    def mean(self) -> Float64[np.ndarray, " F"]:
        """The mean of each scaled feature."""
        return self.columns.T @ self.share

    def class_share(self) -> Float64[np.ndarray, " C"]:
        """The share of each class in the targets."""
        if self.labels is not None:
            return np.bincount(self.labels, self.share, self.n_classes)
        assert self.targets is not None
        mass = self.targets @ self.share
        return np.array([1 - mass[0], mass[0]]) if self.n_classes == 2 else mass

    def loss(self, logits: Float64[np.ndarray, "rows n"]) -> tuple[float, Float64[np.ndarray, "rows n"]]:
        """Mean cross-entropy at logits (offset not yet added; overwritten), and its derivative by them."""
        if self.offset is not None:
            logits += self.offset
        if self.n_classes == 2:
            wanted = self.labels if self.targets is None else self.targets[0]
            loss = float(self.share @ (np.logaddexp(0, logits[0]) - wanted * logits[0]))
            return loss, (expit(logits) - wanted) * self.share
        logits -= logits.max(axis=0)
        rows = np.arange(logits.shape[1])
        hit = logits[self.labels, rows] if self.targets is None else np.einsum("cn,cn->n", self.targets, logits)
        np.exp(logits, out=logits)
        total = logits.sum(axis=0)
        loss = float(self.share @ (np.log(total) - hit))
        logits *= self.share / total
        if self.targets is None:
            logits[self.labels, rows] -= self.share
        else:
            logits -= self.share * self.targets
        return loss, logits

    def products(self, weights: Float64[np.ndarray, "rows F"]) -> Float64[np.ndarray, "rows n"]:
        """W xᵀ; cheap where the weights are sparse."""
        if np.count_nonzero(weights) > 0.1 * weights.size:
            return np.ascontiguousarray((self.x @ np.ascontiguousarray(weights.T)).T)
        return (csr_array(weights) @ self.columns.T).toarray()

    def gradient(self, residuals: Float64[np.ndarray, "rows n"]) -> Float64[np.ndarray, "rows F"]:
        """Derivative of the loss by W."""
        return np.ascontiguousarray((self.columns.T @ np.ascontiguousarray(residuals.T)).T)


def read_problem(
    x: csr_array,
    y: np.ndarray,
    n_classes: int,
    *,
    sample_weight: np.ndarray | None,
    offset: np.ndarray | None,
    fit_intercept: bool,
    scale: Scale,
) -> Problem:
    """The problem of this input; `InsightError` for input that no model can be fitted to."""
    x = read_rows(x)
    n = x.shape[0]
    if n_classes < 2:
        raise InsightError(f"y: expected two classes or more, found {n_classes}")
    labels, targets = read_targets(y, n, n_classes)
    weight = read_weights(sample_weight, n)
    if not weight.sum() > 0:
        raise InsightError("sample_weight: expected a number above 0, found 0 for all rows")
    mass = weight @ np.asarray(targets) if labels is None else np.bincount(labels, weight, n_classes)
    check_classes(mass, fit_intercept)
    offset = read_offset(offset, n, n_classes)
    if offset is not None:
        offset = np.ascontiguousarray((offset[:, 1:] - offset[:, :1] if n_classes == 2 else offset).T)
    if targets is not None:
        targets = np.ascontiguousarray((targets[:, 1:] if n_classes == 2 else targets).T)
    divisor = feature_scale(x, weight, scale)
    scaled = csr_array((x.data / divisor[x.indices], x.indices, x.indptr), shape=x.shape)
    return Problem(scaled, divisor, weight / weight.sum(), labels, targets, offset, n_classes, fit_intercept)


def read_rows(x: csr_array) -> csr_array:
    """Rows in float64, every entry once and none of them 0; the caller's own are untouched."""
    if not issparse(x) or x.ndim != 2:
        raise InsightError(f"x: expected sparse rows (scipy csr_array), found {type(x).__name__}")
    if x.shape[0] < 1 or x.shape[1] < 1:
        raise InsightError(f"x: expected at least one row and one feature, found shape {x.shape}")
    rows = csr_array(x, dtype=np.float64, copy=True)
    if not np.isfinite(rows.data).all():
        raise InsightError("x: expected finite numbers, found NaN or infinity")
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


def read_targets(
    y: np.ndarray, n: int, n_classes: int
) -> tuple[Int64[np.ndarray, " n"] | None, Float64[np.ndarray, "n C"] | None]:
    """(labels, None) of class numbers, or (None, soft targets)."""
    y = np.asarray(y)
    if y.ndim == 2:
        targets = y.astype(np.float64)
        if y.shape != (n, n_classes):
            raise InsightError(f"y: expected soft targets of shape ({n}, {n_classes}), found {y.shape}")
        if not np.isfinite(targets).all() or (targets < 0).any() or np.abs(targets.sum(1) - 1).max() > 1e-4:
            raise InsightError("y: expected soft targets from 0 to 1 that sum to 1 in every row, found others")
        return None, targets / targets.sum(1, keepdims=True)
    if y.shape != (n,) or not (np.issubdtype(y.dtype, np.integer) or y.dtype == bool):
        raise InsightError(f"y: expected {n} class numbers (integers), found {_described(y)}")
    labels = y.astype(np.int64)
    if labels.min() < 0 or labels.max() >= n_classes:
        raise InsightError(
            f"y: expected class numbers from 0 to {n_classes - 1}, found {labels.min()} to {labels.max()}"
        )
    return labels, None


def read_weights(weight: np.ndarray | None, n: int) -> Float64[np.ndarray, " n"]:
    """The weight of each row, 1 where none is given."""
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    if weight.shape != (n,) or not np.isfinite(weight).all() or (weight < 0).any():
        raise InsightError(f"sample_weight: expected {n} finite numbers, none below 0, found {_described(weight)}")
    return weight


def read_offset(offset: np.ndarray | None, n: int, n_classes: int) -> Float64[np.ndarray, "n C"] | None:
    """The fixed logits of each row, or None."""
    if offset is None:
        return None
    offset = np.asarray(offset, dtype=np.float64)
    if offset.shape != (n, n_classes) or not np.isfinite(offset).all():
        raise InsightError(f"offset: expected finite numbers of shape ({n}, {n_classes}), found {_described(offset)}")
    return offset


def check_classes(mass: Float64[np.ndarray, " C"], fit_intercept: bool) -> None:
    """`InsightError` when rows are of one class only, or when a class without rows would need an intercept."""
    if np.count_nonzero(mass) < 2:
        raise InsightError("y: expected two classes or more that have rows, found one; add rows of another class")
    if fit_intercept and not mass.all():
        raise InsightError(
            f"y: class {int(np.argmin(mass))} has no rows, so its intercept has no optimum; drop the class, or set "
            "fit_intercept=False"
        )


def _described(value: np.ndarray) -> str:
    if value.dtype.kind == "f" and value.size and not np.isfinite(value).all():
        return f"shape {value.shape} with NaN or infinity"
    return f"shape {value.shape} of {value.dtype}"
