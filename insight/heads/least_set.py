"""The least set of concepts that keeps a decision: so few that, all others silent, the same class still wins.

In: what each concept puts into each logit of one photo. Out: `LeastSet`. Finding it is an integer programme: choose the
fewest concepts so that the winner's lead over every other class stays positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

SECONDS = 2.0
"""The integer programme may take so long; what it has not proved by then is found greedily."""
LEAD = 1e-4
"""A class wins by at least this share of the largest difference that one concept makes: the solver's tolerance is 100
times finer, so what it finds does keep the decision."""


@dataclass(frozen=True)
class LeastSet:
    """concepts: ids, the largest contribution first; exact: no smaller set keeps the decision (else one might)."""

    concepts: tuple[int, ...]
    exact: bool

    def __len__(self) -> int:
        return len(self.concepts)


def least_set(lead: Float64[np.ndarray, "k others"], without: Float64[np.ndarray, " others"]) -> tuple[list[int], bool]:
    """The rows of the fewest concepts that keep every lead positive, and whether it is certain that they are.

    lead: what each concept adds to the winner's logit less that of each other class; without: the leads when no concept
    is there. All concepts together keep every lead. A tie counts as lost.
    """
    unit = max(float(np.abs(lead).max(initial=0)), 1e-300)
    lead, needed = lead / unit, LEAD - without / unit
    if (needed <= 0).all():
        return [], True
    if lead.shape[1] == 1:  # one rival: whoever adds most first
        order = np.argsort(-lead[:, 0], kind="stable")
        count = int(np.searchsorted(lead[order, 0].cumsum() >= needed[0], True)) + 1
        if count <= np.count_nonzero(lead[order, 0] > 0):
            return order[:count].tolist(), True
        return np.flatnonzero(lead[:, 0] > 0).tolist(), False
    found = _by_programme(lead, needed)
    return (found, True) if found is not None else (_by_greed(lead, needed), False)


def _by_programme(lead: np.ndarray, needed: np.ndarray) -> list[int] | None:
    """The optimum of min Σ z, leadᵀ z ≥ needed, z binary; None where it was not proved in time."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    done = milp(
        np.ones(len(lead)),
        constraints=LinearConstraint(lead.T, lb=needed),
        integrality=np.ones(len(lead)),
        bounds=Bounds(0, 1),
        options={"time_limit": SECONDS},
    )
    if done.status != 0:
        return None
    chosen = np.flatnonzero(done.x > 0.5)
    return chosen.tolist() if (lead[chosen].sum(0) >= needed - LEAD / 2).all() else None


def _by_greed(lead: np.ndarray, needed: np.ndarray) -> list[int]:
    """Add what lessens the shortfall most until there is none, then take back what is not needed."""
    chosen: list[int] = []
    left = set(range(len(lead)))
    total = np.zeros(lead.shape[1])
    while left and (total < needed).any():
        rest = sorted(left)
        shortfall = np.maximum(needed - total - lead[rest], 0).sum(1)
        best = rest[int(shortfall.argmin())]
        chosen.append(best)
        left.discard(best)
        total = total + lead[best]
    for concept in sorted(chosen, key=lambda k: lead[k].sum()):
        if (total - lead[concept] >= needed).all():
            chosen.remove(concept)
            total = total - lead[concept]
    return chosen
