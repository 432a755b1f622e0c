"""Synonyms: concepts that are nearly always there together are one, stood for by the most frequent of them.

In: tested edges, some of them mutual. Out: each concept's representative; the edges between representatives, all of
them toward the more frequent, so that there is no cycle.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .edges import Edges

MOST_RATIO = 1.5
"""Of the frequencies of synonyms. Two concepts that hold three quarters of each other's tokens differ by 4/3 at most;
activations that weigh the tokens leave a little more. Beyond it one is the wider of the two: a parent."""


def heights(frequency: np.ndarray) -> np.ndarray:
    """int64 [m]: the rank of each concept by frequency; at a tie the lower id, the coarser level, is the higher."""
    rank = np.empty(len(frequency), np.int64)
    rank[np.lexsort((-np.arange(len(frequency)), frequency))] = np.arange(len(frequency))
    return rank


def representatives(edges: Edges, levels: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """int32 [m]: the most frequent concept of each concept's group, itself where it is alone.

    Groups are joined by mutual edges between concepts of one level whose frequencies differ by at most `MOST_RATIO`.
    """
    m = len(frequency)
    keys, mirrored = edges.child * m + edges.parent, edges.parent * m + edges.child
    a, b = frequency[edges.child], frequency[edges.parent]
    alike = (levels[edges.child] == levels[edges.parent]) & (np.maximum(a, b) <= MOST_RATIO * np.minimum(a, b))
    joined = alike & np.isin(keys, mirrored)
    pairs = coo_array((np.ones(joined.sum(), np.int8), (edges.child[joined], edges.parent[joined])), shape=(m, m))
    _, group = connected_components(pairs, directed=False)
    upward = heights(frequency).argsort()
    highest = np.empty(m, np.int32)
    highest[group[upward]] = upward  # of several the last is kept
    return highest[group]


def between_groups(edges: Edges, synonyms: np.ndarray, frequency: np.ndarray) -> Edges:
    """The edges from representative to representative, where the parent is the more frequent (`heights`).

    An edge of another member goes to its representative, with its own evidence, unless the representative has that
    edge itself; of several the one of largest weight counts.
    """
    child, parent = synonyms[edges.child].astype(np.int64), synonyms[edges.parent].astype(np.int64)
    height = heights(frequency)
    own = (child == edges.child) & (parent == edges.parent)
    order = np.lexsort((-edges.weight, ~own, parent, child))
    order = order[height[parent[order]] > height[child[order]]]
    _, first = np.unique(child[order] * len(frequency) + parent[order], return_index=True)
    chosen = order[first]
    return replace(edges.take(chosen), child=child[chosen], parent=parent[chosen])
