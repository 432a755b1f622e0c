"""The minimum of a smooth function plus l1 · ‖·‖₁ by limited-memory quasi-Newton steps within one orthant at a time.

After Andrew and Gao (2007, "Scalable training of L1-regularized log-linear models"): the direction comes from the
pseudo-gradient, a step that would change a sign ends at 0. Unlike there, curvature is taken from those variables alone
that are free to move (a two-metric projection), which spares iterations where most variables are 0.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

Vector: TypeAlias = Float64[np.ndarray, " p"]

PAIRS = 20
"""Steps whose curvature is remembered."""
DECREASE = 1e-4
"""Of the decrease that the slope promises, the part that a step must keep (Armijo)."""
ROUNDING = 1e-15
"""What the value may rise by rounding alone, relative to its size; smaller changes cannot be told from it."""
HALVINGS = 40


def minimise(
    smooth: Callable[[Vector], tuple[float, Vector]], start: Vector, l1: Vector, *, tolerance: float, most: int
) -> tuple[Vector, int]:
    """The minimum of smooth(x) + Σ l1 · |x|, and the steps it took.

    smooth: value and gradient. l1: of each variable, 0 or more. Ends when no element of the pseudo-gradient is above
    `tolerance`, after `most` steps, or where rounding allows no step down.
    """
    x = start
    value, gradient = smooth(x)
    total = value + float(l1 @ np.abs(x))
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=PAIRS)
    for step in range(most):
        slope = pseudo_gradient(x, gradient, l1)
        if np.abs(slope).max(initial=0) <= tolerance:
            return x, step
        found = None
        while found is None:
            direction = _direction(slope, (x != 0) | (slope != 0), pairs)
            found = _line_search(smooth, x, total, slope, direction, l1)
            if found is None:
                if not pairs:
                    return x, step
                pairs.clear()
        moved, total, new_gradient = found
        pairs.append((moved - x, new_gradient - gradient))
        x, gradient = moved, new_gradient
    return x, most


def pseudo_gradient(x: Vector, gradient: Vector, l1: Vector) -> Vector:
    """The element of the subdifferential of smallest size: 0 exactly where a variable is best left as it is."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0)
    return np.where(x == 0, at_zero, gradient + l1 * np.sign(x))


def _direction(slope: Vector, free: np.ndarray, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    """Minus inverse curvature times slope (the two loops of Nocedal 1980), on the free variables alone."""
    index = np.flatnonzero(free)
    rest = slope[index]
    used: list[tuple[Vector, Vector, float, float]] = []
    for moved, turned in reversed(pairs):
        s, y = moved[index], turned[index]
        curvature = float(s @ y)
        if curvature <= 1e-10 * float(s @ s) ** 0.5 * float(y @ y) ** 0.5:
            continue
        share = float(s @ rest) / curvature
        rest = rest - share * y
        used.append((s, y, curvature, share))
    if used:
        s, y, curvature, _ = used[0]
        rest = rest * (curvature / float(y @ y))
    for s, y, curvature, share in reversed(used):
        rest = rest + s * (share - float(y @ rest) / curvature)
    direction = np.zeros_like(slope)
    direction[index] = -rest
    return direction


def _line_search(
    smooth: Callable[[Vector], tuple[float, Vector]],
    x: Vector,
    total: float,
    slope: Vector,
    direction: Vector,
    l1: Vector,
) -> tuple[Vector, float, Vector] | None:
    """The first point down the direction, in the orthant of x, that keeps enough of the promised decrease."""
    entering = (x == 0) & (l1 > 0)
    direction = np.where(entering & (direction * slope >= 0), 0, direction)  # else it would leave its orthant at once
    orthant = np.where(x == 0, -np.sign(slope), np.sign(x))
    length = 1.0
    for _ in range(HALVINGS):
        moved = x + length * direction
        moved = np.where((l1 > 0) & (moved * orthant <= 0), 0, moved)
        promised = float(slope @ (moved - x))
        if promised < 0:
            value, gradient = smooth(moved)
            reached = value + float(l1 @ np.abs(moved))
            if reached <= total + DECREASE * promised + ROUNDING * abs(total):
                return moved, reached, gradient
        length /= 2
    return None
