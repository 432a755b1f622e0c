"""Edges while a graph is being built: columns of equal length, one row an edge child -> parent.

In: what each step finds out. Out: what the next one reads; `ConceptGraph` keeps the columns that are left at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

Kind = Literal["kind-of", "part-of"]
KINDS: tuple[Kind, ...] = ("kind-of", "part-of")
"""Child and parent stand on the same region; the child makes up a small, consistent portion of the parent's region."""
VERBS: dict[Kind | None, str] = {"kind-of": "kind of", "part-of": "part of", None: "in"}
"""What a child is to its parent, for people."""
UNTOLD = -1
"""The kind of an edge whose regions speak for neither."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges child -> parent with the evidence for each; every column is [edges]."""

    child: np.ndarray
    """int64."""
    parent: np.ndarray
    """int64."""
    weight: np.ndarray
    """float64: Dn, activation-weighted P(parent | child)."""
    lift: np.ndarray
    """float64: the rate at which the parent covers the child, over the rate at which it covers concepts like it."""
    q_value: np.ndarray
    """float64: the smallest false discovery rate at which the edge is still found."""
    support: np.ndarray
    """int64: images in which the parent covers the child."""
    kind: np.ndarray
    """int8: index into `KINDS`, or `UNTOLD`."""
    cover: np.ndarray
    """float64: mean share of the parent's region that the child's region makes up."""
    cover_spread: np.ndarray
    """float64: standard deviation of that share."""

    @classmethod
    def unmeasured(cls, child: np.ndarray, parent: np.ndarray, weight: np.ndarray) -> Edges:
        """Edges of which nothing more is known: NaN, no supporting image, no kind."""
        unknown = np.full(len(child), np.nan)
        none, untold = np.zeros(len(child), np.int64), np.full(len(child), UNTOLD, np.int8)
        return cls(child, parent, weight, unknown, unknown, none, untold, unknown, unknown)

    def __len__(self) -> int:
        return len(self.child)

    def take(self, rows: np.ndarray) -> Edges:
        """The rows of a mask or of an index, in its order."""
        return Edges(*(getattr(self, field.name)[rows] for field in fields(self)))
