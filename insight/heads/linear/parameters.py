"""Numbers that people set, checked."""

from __future__ import annotations

from collections.abc import Sequence

from sae.errors import InsightError

from .fit import LinearFit


def check_parameters(l1_ratio: float, tol: float, most: int) -> None:
    """`InsightError` unless the ratio is from 0 to 1, the tolerance above 0 and at least one step allowed."""
    if not 0 <= l1_ratio <= 1:
        raise InsightError(f"l1_ratio: expected a number from 0 to 1, found {l1_ratio}")
    if not tol > 0:
        raise InsightError(f"tol: expected a number above 0, found {tol}")
    if most < 1:
        raise InsightError(f"max_iter, epochs: expected 1 or more, found {most}")


def check_alphas(alphas: Sequence[float]) -> None:
    """`InsightError` unless there are penalties, all of them above 0 and finite."""
    if len(alphas) == 0:
        raise InsightError("alphas: expected at least one penalty, found none")
    for alpha in alphas:
        if not 0 < alpha < float("inf"):
            raise InsightError(f"alpha: expected a number above 0, found {alpha}")


def check_start(start: LinearFit | None, n_features: int, n_classes: int) -> None:
    """`InsightError` for a fit of another shape."""
    expected = (1 if n_classes == 2 else n_classes, n_features)
    if start is not None and start.coef.shape != expected:
        raise InsightError(f"start: expected weights of shape {expected}, found {start.coef.shape}")
