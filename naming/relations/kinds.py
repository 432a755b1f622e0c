"""The kind of each edge, from regions: what the child covers of its parent where both stand.

In: edges and `RegionPairs`. Out: the edges with their mean cover, its spread and their kind. Cover c = |r ∩ S| / |S| is
taken over the child's regions r that stand on the parent (at least half of r), S the parent's regions that r touches.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .candidates import values_at
from .edges import KINDS, UNTOLD, Edges

if TYPE_CHECKING:
    from ..evidence.regions import RegionPairs

SAME = 0.5
"""Mean cover from which child and parent stand on the same region: most of the parent's region is the child's."""
SMALL = 1 / 3
SPREAD = 0.25


def with_kinds(edges: Edges, regions: RegionPairs) -> Edges:
    """The edges with cover, its standard deviation, and kind."""
    seen = np.maximum(values_at(regions.inside, edges.child, edges.parent), 1)
    mean = values_at(regions.cover, edges.child, edges.parent) / seen
    square = values_at(regions.cover_squares, edges.child, edges.parent) / seen
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return replace(edges, cover=mean, cover_spread=spread, kind=kinds(mean, spread))


def kinds(cover: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """int8: "kind-of" from a mean cover of `SAME`; "part-of" up to `SMALL` with a spread of at most `SPREAD`.

    Else `UNTOLD`.
    """
    kind = np.full(len(cover), UNTOLD, np.int8)
    kind[cover >= SAME] = KINDS.index("kind-of")
    kind[(cover <= SMALL) & (spread <= SPREAD)] = KINDS.index("part-of")
    return kind
