"""The optimum at one penalty: entries that may matter, solved by L-BFGS-B, and a check of all others until none does.

An entry is split into its positive and its negative part, both kept from below 0, which makes the objective smooth and
zeros exact (Andrew and Gao 2007 discuss the split form). Entries left out are checked against the conditions of
optimality afterwards and join when they break them, so the answer is that of the whole problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import minimize

from .entries import Entries
from .problem import Problem

MOST_ROUNDS = 50


@dataclass
class State:
    """Weights in units of the scaled features, with what is known there."""

    weights: Float64[np.ndarray, "rows F"]
    intercept: Float64[np.ndarray, " rows"]
    gradient: Float64[np.ndarray, "rows F"]
    """Of the loss alone, by the weights."""
    objective: float = np.inf
    violation: float = np.inf
    iterations: int = 0


def state_at(
    problem: Problem,
    weights: Float64[np.ndarray, "rows F"],
    intercept: Float64[np.ndarray, " rows"],
    alpha: float,
    l1_ratio: float,
) -> State:
    """Objective, gradient and violation of the conditions of optimality, relative to alpha, at given weights."""
    from scipy.sparse import csr_array

    loss, residuals = problem.loss(problem.logits(csr_array(weights), intercept))
    gradient = problem.gradient(residuals)
    breach = entry_violation(weights, gradient, alpha, l1_ratio).max()
    if problem.fit_intercept:
        breach = max(breach, np.abs(residuals.sum(0)).max())
    penalty = alpha * (l1_ratio * np.abs(weights).sum() + (1 - l1_ratio) / 2 * np.square(weights).sum())
    return State(weights, intercept, gradient, float(loss + penalty), float(breach / alpha))


def entry_violation(
    weights: Float64[np.ndarray, "rows F"], gradient: Float64[np.ndarray, "rows F"], alpha: float, l1_ratio: float
) -> Float64[np.ndarray, "rows F"]:
    """How far 0 is from the subdifferential of the objective, entry by entry."""
    smooth = gradient + alpha * (1 - l1_ratio) * weights
    at_zero = np.maximum(np.abs(smooth) - alpha * l1_ratio, 0)
    return np.where(weights == 0, at_zero, np.abs(smooth + alpha * l1_ratio * np.sign(weights)))


def solve(
    problem: Problem,
    start: State,
    alpha: float,
    l1_ratio: float,
    *,
    tol: float,
    max_iter: int,
    screen: float,
) -> State:
    """The optimum at alpha, from a start whose gradient is known; entries of gradient above `screen` go in at once."""
    state = state_at(problem, start.weights, start.intercept, alpha, l1_ratio)
    chosen = np.flatnonzero((state.weights != 0) | (np.abs(state.gradient) >= screen))
    iterations = 0
    for _ in range(MOST_ROUNDS):
        weights, intercept, used = _solve_entries(
            problem, chosen, state, alpha, l1_ratio, 0.3 * tol * alpha, max_iter - iterations
        )
        iterations += used
        state = state_at(problem, weights, intercept, alpha, l1_ratio)
        if state.violation <= tol or iterations >= max_iter:
            break
        breaks = entry_violation(weights, state.gradient, alpha, l1_ratio).reshape(-1) > 0.3 * tol * alpha
        kept = chosen[(weights.reshape(-1)[chosen] != 0) | breaks[chosen]]
        joined = np.union1d(chosen, np.flatnonzero(breaks)) if breaks.any() else kept
        chosen = joined
    state.iterations = iterations
    return state


def _solve_entries(
    problem: Problem,
    chosen: Int64[np.ndarray, " k"],
    state: State,
    alpha: float,
    l1_ratio: float,
    gtol: float,
    max_iter: int,
) -> tuple[Float64[np.ndarray, "rows F"], Float64[np.ndarray, " rows"], int]:
    """Weights and intercept that are optimal when all entries that were not chosen stay 0."""
    entries = Entries(problem, chosen)
    k, rows = len(chosen), problem.n_rows_of_weights
    free = rows if problem.fit_intercept else 0
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)

    def value(point: Float64[np.ndarray, " p"]) -> tuple[float, Float64[np.ndarray, " p"]]:
        weights = point[:k] - point[k : 2 * k]
        logits = entries.logits(weights)
        logits += point[2 * k :] if free else state.intercept
        loss, residuals = problem.loss(logits)
        gradient = entries.gradient(residuals) + l2 * weights
        penalty = l1 * point[: 2 * k].sum() + l2 / 2 * (weights @ weights)
        parts = [gradient + l1, l1 - gradient]
        if free:
            parts.append(residuals.sum(0))
        return loss + penalty, np.concatenate(parts)

    flat = state.weights.reshape(-1)[chosen]
    first = np.concatenate([np.maximum(flat, 0), np.maximum(-flat, 0), state.intercept if free else []])
    found = minimize(
        value,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * (2 * k) + [(None, None)] * free,
        options={"maxiter": max(max_iter, 1), "maxfun": 10**9, "ftol": 0.0, "gtol": gtol, "maxcor": 20},
    )
    weights = np.zeros_like(state.weights)
    weights.reshape(-1)[chosen] = found.x[:k] - found.x[k : 2 * k]
    return weights, found.x[2 * k :] if free else state.intercept, int(found.nit)
