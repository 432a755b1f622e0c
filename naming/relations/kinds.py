"""The kind of each edge, from regions: what the child covers of its parent where both stand.

In: edges and `RegionPairs`. Out: the edges with their mean cover, its spread and their kind. Cover c = |r ∩ S| / |S|,
for each of the child's regions r of which at least half stands on the parent, S the parent's regions that r touches;
means are over the patches of those regions, for most regions are specks that cover little of anything.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..evidence.regions import RegionPairs
from .candidates import values_at
from .edges import KINDS, UNTOLD, Edges

SAME = 0.5
"""Mean cover from which child and parent stand on the same region: most of the parent's region is the child's.

This and the next three constants were set by looking at edges of a dictionary of 2,048 concepts on training photos.
Mean covers fill 0 to 0.9 without a gap; from a half on children are kinds (bathroom of room, red panda of animal),
under a quarter mostly parts (collar and shirt front of a man, pictures of a room). What lies between stays untold.
"""
SMALL = 1 / 3
"""Mean cover up to which the child is a small portion of the parent's region."""
SPREAD = 0.25
"""Largest standard deviation of a consistent cover. With more, the child is now the whole region and now a speck of it:
a beak that fills close-ups, or the texture of anything."""
RELATIVE_SPREAD = 1.5
"""Largest ratio of that deviation to the mean. Where covers are specks all but now and then, the child is strewn over
anything (the blur behind birds: 0.04 ± 0.13); wheels of vehicles are at 1 (0.06 ± 0.05), chairs at a table at 1.4."""


def with_kinds(edges: Edges, regions: RegionPairs) -> Edges:
    """The edges with cover, its standard deviation, and kind."""
    inside = values_at(regions.inside, edges.child, edges.parent)
    seen = np.where(inside > 0, inside, np.nan)  # without a region on the parent nothing is known of its cover
    mean = values_at(regions.cover, edges.child, edges.parent) / seen
    square = values_at(regions.cover_squares, edges.child, edges.parent) / seen
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return replace(edges, cover=mean, cover_spread=spread, kind=kinds(mean, spread))


def kinds(cover: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """int8: "kind-of" from a mean cover of `SAME`; "part-of" up to `SMALL` with a small spread.

    Small: at most `SPREAD`, and `RELATIVE_SPREAD` times the mean. Else `UNTOLD`.
    """
    kind = np.full(len(cover), UNTOLD, np.int8)
    kind[cover >= SAME] = KINDS.index("kind-of")
    kind[(cover <= SMALL) & (spread <= SPREAD) & (spread <= RELATIVE_SPREAD * cover)] = KINDS.index("part-of")
    return kind
