"""The optimum at one penalty: entries that may matter are solved, all others checked, until none of them does.

Entries left out join when they break the conditions of optimality, so the answer is that of the whole problem. In: a
problem, and a state to begin at. Out: the state at the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import minimize

from .entries import Entries
from .problem import Problem
from .quasi_newton import minimise

MOST_ROUNDS = 50
LONG_STEP = 0.85
"""Entries with less than this part of the gradient that they need to enter are left out at first."""
STRICTER = 0.3
"""The solver of some entries is asked for this part of the tolerance, so that the check of all entries passes."""
STRICTEST = 1e-8
"""Where features are far from 0 a smaller part may be needed; below this one rounding decides."""


@dataclass(frozen=True)
class State:
    """Weights in units of the scaled features, with what is known there."""

    weights: Float64[np.ndarray, "rows F"]
    intercept: Float64[np.ndarray, " rows"]
    gradient: Float64[np.ndarray, "rows F"]
    """Of the loss alone, by the weights."""
    objective: float
    violation: float
    """Of the conditions of optimality, the largest, relative to alpha."""
    iterations: int = 0


def state_at(
    problem: Problem,
    weights: Float64[np.ndarray, "rows F"],
    intercept: Float64[np.ndarray, " rows"],
    alpha: float,
    l1_ratio: float,
) -> State:
    """Objective, gradient, and how far given weights are from optimal at alpha."""
    loss, residuals = problem.loss(problem.products(weights) + intercept[:, None])
    gradient = problem.gradient(residuals)
    breach = entry_violation(weights, gradient, alpha, l1_ratio).max()
    if problem.fit_intercept:
        breach = max(breach, np.abs(residuals.sum(1)).max())
    penalty = alpha * (l1_ratio * np.abs(weights).sum() + (1 - l1_ratio) / 2 * np.square(weights).sum())
    return State(weights, intercept, gradient, float(loss + penalty), float(breach / alpha))


def entry_violation(
    weights: Float64[np.ndarray, "rows F"], gradient: Float64[np.ndarray, "rows F"], alpha: float, l1_ratio: float
) -> Float64[np.ndarray, "rows F"]:
    """How far 0 is from the subdifferential of the objective, entry by entry. gradient: of the loss alone."""
    violation = np.maximum(np.abs(gradient) - alpha * l1_ratio, 0)
    used = weights != 0
    kept = weights[used]
    violation[used] = np.abs(gradient[used] + alpha * ((1 - l1_ratio) * kept + l1_ratio * np.sign(kept)))
    return violation


def null_state(problem: Problem) -> State:
    """The optimum with all weights 0: the best intercept alone."""
    rows, n_features = problem.n_rows_of_weights, problem.x.shape[1]
    intercept = np.zeros(rows)
    if problem.fit_intercept:

        def value(b: Float64[np.ndarray, " rows"]) -> tuple[float, Float64[np.ndarray, " rows"]]:
            loss, residuals = problem.loss(np.repeat(b[:, None], problem.x.shape[0], 1))
            return loss, residuals.sum(1)

        mass = problem.class_share()  # the answer already where there is no offset
        first = np.log(mass[1:] / mass[:1]) if problem.n_classes == 2 else np.log(mass)
        intercept = minimize(value, first, jac=True, method="L-BFGS-B", options={"ftol": 0.0, "gtol": 1e-11}).x
    return state_at(problem, np.zeros((rows, n_features)), intercept, 1.0, 1.0)


def solve(
    problem: Problem, start: State, alpha: float, l1_ratio: float, *, previous: float, tol: float, max_iter: int
) -> State:
    """The optimum at alpha, begun at a state.

    previous: the penalty at which the start is optimal; it says which entries go in at once, by the sequential strong
    rule of Tibshirani et al. (2012); after a long step down, where that leaves few out, those that are near.
    """
    strong = l1_ratio * max(2 * alpha - previous, LONG_STEP * alpha)
    state, done, part = start, 0, STRICTER
    chosen = np.flatnonzero((start.weights != 0) | (np.abs(start.gradient) >= strong))
    for _ in range(MOST_ROUNDS):
        weights, intercept, used = _solve_entries(
            problem, chosen, state, alpha, l1_ratio, part * tol * alpha, max_iter - done
        )
        done += used
        state = state_at(problem, weights, intercept, alpha, l1_ratio)
        if state.violation <= tol or done >= max_iter or part < STRICTEST:
            break
        breaks = entry_violation(weights, state.gradient, alpha, l1_ratio) > STRICTER * tol * alpha
        joined = np.union1d(chosen, np.flatnonzero(breaks))
        if len(joined) == len(chosen):  # the sums of large features are off by more than those of centred ones were
            part /= 10
        chosen = joined
    return replace(state, iterations=done)


def _solve_entries(
    problem: Problem,
    chosen: Int64[np.ndarray, " k"],
    state: State,
    alpha: float,
    l1_ratio: float,
    tolerance: float,
    max_iter: int,
) -> tuple[Float64[np.ndarray, "rows F"], Float64[np.ndarray, " rows"], int]:
    """Weights and intercept that are optimal when all entries that were not chosen stay 0, and iterations used."""
    entries = Entries(problem, chosen)
    k, free = len(chosen), problem.n_rows_of_weights if problem.fit_intercept else 0
    l2 = alpha * (1 - l1_ratio)

    def smooth(point: Float64[np.ndarray, " p"]) -> tuple[float, Float64[np.ndarray, " p"]]:
        weights = point[:k]
        logits = entries.logits(weights)
        if free:
            logits += point[k:, None]
        loss, residuals = problem.loss(logits)
        gradient = entries.gradient(residuals) + l2 * weights
        return loss + l2 / 2 * float(weights @ weights), np.concatenate([gradient, residuals.sum(1)[:free]])

    flat = state.weights.reshape(-1)[chosen]
    start = np.concatenate([flat, (state.intercept + entries.shift(flat))[:free]])
    l1 = np.concatenate([np.full(k, alpha * l1_ratio), np.zeros(free)])
    point, steps = minimise(smooth, start, l1, tolerance=tolerance, most=max_iter)
    weights = np.zeros_like(state.weights)
    weights.reshape(-1)[chosen] = point[:k]
    return weights, point[k:] - entries.shift(point[:k]) if free else state.intercept, steps
