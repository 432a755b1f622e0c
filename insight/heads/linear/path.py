"""Sparse logistic regression on sparse rows: one penalty, or a path of penalties from the strongest down.

In: rows [n, F], class numbers or soft targets. Out: `LinearFit`, each with its own proof of optimality.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from .fit import LinearFit
from .parameters import check_alphas, check_parameters, check_start
from .problem import Problem, read_problem
from .scaling import Scale
from .solver import State, null_state, solve, state_at

DEFAULT_ALPHAS = 40
DEFAULT_RANGE = 1e-3
ON_THE_WAY = 0.1
"""Tolerance of the fits that lead from the strongest penalty to a weak one; only the last must be exact."""


def fit_linear(
    x: csr_array,
    y: np.ndarray,
    n_classes: int,
    *,
    alpha: float,
    l1_ratio: float = 0.99,
    sample_weight: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    fit_intercept: bool = True,
    scale: Scale = "std",
    tol: float = 1e-4,
    max_iter: int = 1000,
    start: LinearFit | None = None,
) -> LinearFit:
    """The optimum at one penalty.

    Minimises (1/Σw) Σ_i w_i · CE(softmax(x_i Wᵀ + b + offset_i), y_i) + alpha · (l1_ratio · ‖W‖₁ + (1 - l1_ratio)/2 ·
    ‖W‖²) with W in units of the scaled features (`feature_scale`); the intercept b is free. This is the objective of
    Friedman, Hastie and Tibshirani (2010), equations 17 and 21. Of two classes there is one row of W.

    Args:
        x: rows [n, F]; duplicate entries count as their sum.
        y: class numbers int [n], or soft targets float [n, C] that sum to 1.
        alpha: strength of the penalty, above 0; from `alpha_max` on all weights are 0.
        offset: fixed logits [n, C] the model adds to.
        tol: largest violation of the conditions of optimality, relative to alpha.
        max_iter: quasi-Newton steps; when they do not suffice, `converged` is False and a ConvergenceWarning is given.
        start: a fit to begin at; the optimum is the same.

    Raises `InsightError` for NaN, other lengths, fewer than two classes, or parameters out of range.
    """
    check_parameters(l1_ratio, tol, max_iter)
    check_alphas([alpha])
    problem = read_problem(
        x, y, n_classes, sample_weight=sample_weight, offset=offset, fit_intercept=fit_intercept, scale=scale
    )
    if start is None:
        state = null_state(problem)
        previous = _alpha_max(state, l1_ratio)
        for step in _steps_towards(alpha, previous):
            state = solve(problem, state, step, l1_ratio, previous=previous, tol=ON_THE_WAY, max_iter=max_iter)
            previous = step
    else:
        state, previous = _state_of(start, problem), alpha
    state = solve(problem, state, alpha, l1_ratio, previous=previous, tol=tol, max_iter=max_iter)
    fit = _fit_of(problem, state, alpha, l1_ratio, tol)
    _warn([fit], tol)
    return fit


def fit_path(
    x: csr_array,
    y: np.ndarray,
    n_classes: int,
    *,
    alphas: Sequence[float] | None = None,
    l1_ratio: float = 0.99,
    sample_weight: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    fit_intercept: bool = True,
    scale: Scale = "std",
    tol: float = 1e-4,
    max_iter: int = 1000,
    most_per_class: float | None = None,
) -> list[LinearFit]:
    """The optima along penalties, strongest first, each begun at the one before.

    `alphas` None: 40, evenly spaced in logarithm, from `alpha_max` to a thousandth of it. The path ends early after the
    first fit that uses more than `most_per_class` features a class on average (of two classes: in their one row).
    Features are screened along the way and all of them checked at every step, so each fit is exact. Else as
    `fit_linear`.
    """
    check_parameters(l1_ratio, tol, max_iter)
    problem = read_problem(
        x, y, n_classes, sample_weight=sample_weight, offset=offset, fit_intercept=fit_intercept, scale=scale
    )
    state = null_state(problem)
    strongest = _alpha_max(state, l1_ratio)
    if alphas is None:
        alphas = [float(a) for a in strongest * np.geomspace(1, DEFAULT_RANGE, DEFAULT_ALPHAS)]
    check_alphas(alphas)
    fits: list[LinearFit] = []
    previous = strongest
    for alpha in sorted(map(float, alphas), reverse=True):
        state = solve(problem, state, alpha, l1_ratio, previous=max(previous, alpha), tol=tol, max_iter=max_iter)
        fits.append(_fit_of(problem, state, alpha, l1_ratio, tol))
        previous = alpha
        if most_per_class is not None and fits[-1].n_nonzero.mean() > most_per_class:
            break
    _warn(fits, tol)
    return fits


def alpha_max(
    x: csr_array,
    y: np.ndarray,
    n_classes: int,
    *,
    l1_ratio: float = 0.99,
    sample_weight: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    fit_intercept: bool = True,
    scale: Scale = "std",
) -> float:
    """The smallest penalty at which all weights are 0 (for `l1_ratio` below 0.001: at 0.001, as there is none)."""
    check_parameters(l1_ratio, 1.0, 1)
    problem = read_problem(
        x, y, n_classes, sample_weight=sample_weight, offset=offset, fit_intercept=fit_intercept, scale=scale
    )
    return _alpha_max(null_state(problem), l1_ratio)


def _alpha_max(null: State, l1_ratio: float) -> float:
    largest = float(np.abs(null.gradient).max())
    return max(largest, 1e-12) / max(l1_ratio, 1e-3) * (1 + 1e-6)


def _state_of(fit: LinearFit, problem: Problem) -> State:
    check_start(fit, problem.x.shape[1], problem.n_classes)
    intercept = fit.intercept if problem.fit_intercept else np.zeros_like(fit.intercept)
    return state_at(problem, fit.coef * problem.scale, intercept, 1.0, 1.0)


def _steps_towards(alpha: float, strongest: float) -> list[float]:
    """Penalties on the way from the strongest to a weaker one, each two thirds of the one before."""
    count = int(np.ceil(np.log(max(strongest / alpha, 1)) / np.log(1.5)))
    return [] if count < 2 else [float(a) for a in np.geomspace(strongest, alpha, count + 1)[1:-1]]


def _fit_of(problem: Problem, state: State, alpha: float, l1_ratio: float, tol: float) -> LinearFit:
    intercept = state.intercept  # of several classes only differences matter; what they share is left out
    return LinearFit(
        coef=state.weights / problem.scale,
        intercept=intercept - intercept.mean() if problem.n_classes > 2 else intercept,
        alpha=alpha,
        l1_ratio=l1_ratio,
        objective=state.objective,
        violation=state.violation,
        iterations=state.iterations,
        converged=state.violation <= tol,
    )


def _warn(fits: Sequence[LinearFit], tol: float) -> None:
    short = [fit for fit in fits if not fit.converged]
    if short:
        worst = max(short, key=lambda fit: fit.violation)
        warnings.warn(
            f"{len(short)} of {len(fits)} fits did not converge: at alpha {worst.alpha:.3g} the violation is "
            f"{worst.violation:.2g} of alpha, above tol {tol:.2g}; raise max_iter or alpha",
            ConvergenceWarning,
            stacklevel=3,
        )
