"""Transitive reduction: which edges of an acyclic graph are not also a longer path."""

from __future__ import annotations

import numpy as np


def direct_edges(child: np.ndarray, parent: np.ndarray, height: np.ndarray) -> np.ndarray:
    """bool [edges]: False where the parent is reached from the child over another of its parents too.

    `height` [m] has no value twice and grows along every edge, height[parent] > height[child], which is why there is
    no cycle. A set of ancestors is the bits of one integer, over the P concepts that are anybody's parent: time
    O(edges · P / 64), memory at most P² / 8 bytes.
    """
    place = {concept: bit for bit, concept in enumerate(np.unique(parent).tolist())}
    order = np.argsort(-height[child])  # from the top: a concept's parents before itself
    children, parents = child[order].tolist(), parent[order].tolist()
    starts = np.flatnonzero(np.diff(height[child[order]], prepend=np.inf)).tolist()
    direct = np.zeros(len(child), dtype=bool)
    ancestors: dict[int, int] = {}
    for start, stop in zip(starts, [*starts[1:], len(children)]):
        own = beyond = 0
        for parent_of in parents[start:stop]:
            own |= 1 << place[parent_of]
            beyond |= ancestors.get(parent_of, 0)
        direct[order[start:stop]] = [not beyond >> place[parent_of] & 1 for parent_of in parents[start:stop]]
        if children[start] in place:
            ancestors[children[start]] = own | beyond
    return direct
