"""How often concepts fire. In: `SparseCodes`, chunk by chunk. Out: frequencies, L0, dead, dense, a histogram."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..distributed import Group
from ..errors import InsightError

DENSE_SHARE = 0.1
"""A concept active in more than this share of tokens counts as dense."""

DENSITY_EDGES: tuple[float, ...] = tuple(1 / 10 ** (quarter / 4) for quarter in range(32, -1, -1))
"""Edges of the histogram's 32 bins: firing frequencies from 1e-8 to 1, four bins a decade."""


@dataclass(frozen=True, eq=False)
class Density:
    """How often each of m concepts fired over all tokens (L0 is a count, not a share)."""

    tokens: int
    frequency: Tensor
    """float64 [m]: share of the tokens in which each concept is active."""

    @property
    def l0(self) -> float:
        """Mean number of active concepts per token."""
        return float(self.frequency.sum())

    @property
    def dead(self) -> float:
        """Share of concepts that are active in no token."""
        return float((self.frequency == 0).double().mean())

    @property
    def dense(self) -> float:
        """Share of concepts that are active in more than `DENSE_SHARE` of the tokens."""
        return float((self.frequency > DENSE_SHARE).double().mean())

    @property
    def histogram(self) -> Tensor:
        """int64 [32]: living concepts with a frequency from edge i up to, not including, edge i + 1.

        The first bin also has those rarer than its lower edge, the last also those that are always active. Dead
        concepts are in none: the bins sum to the number of the living.
        """
        alive = self.frequency[self.frequency > 0]
        inner = torch.tensor(DENSITY_EDGES[1:-1], dtype=torch.float64, device=alive.device)
        return torch.bincount(torch.bucketize(alive, inner, right=True), minlength=len(DENSITY_EDGES) - 1)


class DensityMeter:
    """Counts how often each concept fires; O(nnz) work, 8 bytes a concept."""

    def __init__(self, n_concepts: int) -> None:
        self.tokens = 0
        self._fired = torch.zeros(n_concepts, dtype=torch.int64)

    def update(self, codes: SparseCodes) -> None:
        """Count the tokens of `codes`; each token must be given once."""
        if codes.n_concepts != len(self._fired):
            found = f"{codes.n_concepts}; use one meter for each dictionary"
            raise InsightError(f"DensityMeter: expected codes of {len(self._fired)} concepts, found {found}")
        self._add(codes.n, torch.bincount(codes.concepts, minlength=codes.n_concepts))

    def merge(self, other: DensityMeter) -> None:
        """Add the counts of another pass over other tokens; `other` keeps its own."""
        if len(other._fired) != len(self._fired):
            found = f"one of {len(other._fired)}; both must be of one dictionary"
            raise InsightError(f"DensityMeter: expected a meter of {len(self._fired)} concepts, found {found}")
        self._add(other.tokens, other._fired)

    def join(self, group: Group) -> None:
        """The counts of all ranks; exchanged on the host."""
        self.tokens, self._fired = group.count(self.tokens), group.sum_(self._fired.cpu())

    def result(self) -> Density:
        """What was counted so far; `InsightError` before the first token."""
        if not self.tokens:
            raise InsightError("density: expected at least one token, found none; give the meter codes first")
        return Density(self.tokens, self._fired.double() / self.tokens)

    def _add(self, tokens: int, fired: Tensor) -> None:
        self.tokens += tokens
        self._fired = self._fired.to(fired.device) + fired
