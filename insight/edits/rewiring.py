"""The concept graph as a person corrected it: merged and hidden concepts, added and removed edges.

In: the measured graph and one correction after the other. Out: a graph of the same kind, whose `direct` flags are
those of the corrected edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from naming import ConceptGraph
from naming.relations.context import ContextPairs
from naming.relations.edges import KINDS, Edges
from naming.relations.reduction import direct_edges
from sae.errors import InsightError


class Rewiring:
    """Corrections of one graph, taken in order. Ids may be any concept's; a synonym's edges are those of its group.

    `called` gives a concept's name, for errors.
    """

    def __init__(self, graph: ConceptGraph, called: Callable[[int], str]) -> None:
        self._measured = graph
        self._called = called
        self._synonyms = graph.synonyms.copy()
        self._contexts = graph.contexts
        self._edges = Edges(
            child=graph.child_ids.astype(np.int64),
            parent=graph.parent_ids.astype(np.int64),
            weight=graph.weights.astype(np.float64),
            lift=graph.lift,
            q_value=graph.q_value,
            support=graph.support,
            kind=graph.kind.copy(),
            cover=graph.cover,
            cover_spread=graph.cover_spread,
        )
        self._direct = graph.direct
        self._wanted: set[tuple[int, int]] = set()

    def relate(self, child: int, parent: int, kind: str) -> None:
        """Add an edge, or give the one that is there another kind. `InsightError` where a cycle would close.

        An added edge has weight 1, so that it comes first, and no measured evidence (`Edges.unmeasured`).
        """
        c, p = int(self._synonyms[child]), int(self._synonyms[parent])
        if c == p:
            raise InsightError(f"{child} and {parent} are one concept, or synonyms; expected two that are not")
        row = np.flatnonzero((self._edges.child == c) & (self._edges.parent == p))
        if not len(row):
            way = self._way(p, c)
            if way:
                raise InsightError(
                    f"{parent} belongs to {child} already ({self._told(way)}); {child} → {parent} would close a cycle,"
                    " so unrelate them first"
                )
            self._edges = _joined(self._edges, Edges.unmeasured(np.array([c]), np.array([p]), np.ones(1)))
            row = np.array([len(self._edges) - 1])
        self._edges.kind[row] = KINDS.index(kind)
        self._wanted.add((c, p))

    def unrelate(self, child: int, parent: int) -> None:
        """Remove an edge, if it is there."""
        c, p = int(self._synonyms[child]), int(self._synonyms[parent])
        self._edges = self._edges.take((self._edges.child != c) | (self._edges.parent != p))
        self._wanted.discard((c, p))

    def merge(self, first: int, others: Sequence[int]) -> None:
        """Let concepts be one, which `first` stands for: their edges are united, those between them go.

        Of an edge that several had, the one of largest weight is kept. `InsightError` where a concept stands between
        them, so that it would belong to the merged one and the merged one to it.
        """
        groups = {int(self._synonyms[concept]) for concept in (first, *others)}
        before = self._edges, self._synonyms.copy(), self._contexts, self._wanted
        self._relabel(groups, first)
        way = self._way(first, first)
        if way:
            self._edges, self._synonyms, self._contexts, self._wanted = before
            listed = ", ".join(map(str, (first, *others)))
            raise InsightError(
                f"if {listed} were one concept, {self._told(way)} would be a cycle; unrelate what stands between first"
            )

    def hide(self, concepts: Iterable[int]) -> None:
        """Take concepts out of the graph; a group of synonyms is stood for by the most frequent that is left."""
        gone = np.zeros(len(self._synonyms), bool)
        gone[list(concepts)] = True
        for concept in np.flatnonzero(gone).tolist():
            left = np.flatnonzero((self._synonyms == concept) & ~gone)
            if len(left):
                self._relabel({concept}, int(left[self._measured.frequency[left].argmax()]))
        self._synonyms[gone] = np.flatnonzero(gone)
        self._edges = self._edges.take(~gone[self._edges.child] & ~gone[self._edges.parent])
        self._contexts = _take_pairs(self._contexts, ~gone[self._contexts.pairs].any(axis=1))

    def graph(self) -> ConceptGraph:
        """The corrected graph. An edge that a person asked for is direct, whatever else leads to the same parent."""
        edges, m = self._edges, len(self._synonyms)
        heights = _heights(edges, m)
        direct = np.ones(len(edges), bool) if heights is None else direct_edges(edges.child, edges.parent, heights)
        wanted = [child * m + parent for child, parent in self._wanted]
        return ConceptGraph.from_edges(
            edges,
            direct=direct | np.isin(edges.child * m + edges.parent, wanted),
            frequency=self._measured.frequency,
            tokens=self._measured.tokens,
            mean_codes=self._measured.mean_codes,
            synonyms=self._synonyms,
            contexts=self._contexts,
        )

    def _relabel(self, old: set[int], new: int) -> None:
        """Groups of synonyms become one, stood for by `new`."""
        m = len(self._synonyms)
        name = np.arange(m)
        name[list(old)] = new
        held = np.isin(self._edges.child, [*old, new]) | np.isin(self._edges.parent, [*old, new])
        ours = self._edges.take(held)
        ours = replace(ours, child=name[ours.child], parent=name[ours.parent])
        order = np.lexsort((-ours.weight, ours.parent, ours.child))
        order = order[ours.child[order] != ours.parent[order]]
        _, once = np.unique(ours.child[order] * m + ours.parent[order], return_index=True)
        self._edges = _joined(self._edges.take(~held), ours.take(order[once]))
        self._synonyms = name[self._synonyms].astype(np.int32)
        self._synonyms[new] = new
        self._contexts = _relabelled_pairs(self._contexts, name)
        self._wanted = {(int(name[child]), int(name[parent])) for child, parent in self._wanted}

    def _told(self, way: Sequence[int]) -> str:
        return " → ".join(f"{concept} “{self._called(concept)}”" for concept in way)

    def _way(self, start: int, goal: int) -> list[int]:
        """A shortest way over one or more edges, both ends included; empty where there is none."""
        m = len(self._synonyms)
        shape, ones = (m, m), np.ones(len(self._edges), np.int8)
        steps = csr_array((ones, (self._edges.child, self._edges.parent)), shape=shape)
        reached, before = breadth_first_order(steps, start)
        last = np.intersect1d(self._edges.child[self._edges.parent == goal], reached)
        if not len(last):
            return []
        ways = [[int(end), goal] for end in last]
        for way in ways:
            while way[0] != start:
                way.insert(0, int(before[way[0]]))
        return min(ways, key=len)


def _heights(edges: Edges, m: int) -> np.ndarray | None:
    """int64 [m]: all different, greater at every parent than at its child; None in a graph with cycles."""
    shape = (m, m)
    components, _ = connected_components(
        csr_array((np.ones(len(edges), np.int8), (edges.child, edges.parent)), shape=shape), connection="strong"
    )
    if components < m:
        return None
    heights = np.zeros(m, np.int64)
    while bool((low := heights[edges.parent] <= heights[edges.child]).any()):
        np.maximum.at(heights, edges.parent[low], heights[edges.child[low]] + 1)
    ranks = np.empty(m, np.int64)
    ranks[heights.argsort(kind="stable")] = np.arange(m)
    return ranks


def _joined(edges: Edges, more: Edges) -> Edges:
    columns = (np.concatenate([getattr(edges, name), getattr(more, name)]) for name in Edges.__dataclass_fields__)
    return Edges(*columns)


def _take_pairs(contexts: ContextPairs, rows: np.ndarray) -> ContextPairs:
    return ContextPairs(contexts.pairs[rows], contexts.beside[rows], contexts.lift[rows], contexts.q_value[rows])


def _relabelled_pairs(contexts: ContextPairs, name: np.ndarray) -> ContextPairs:
    """The pairs under new names, the surest of each; none of a concept with itself."""
    pairs = name[contexts.pairs].astype(np.int32)
    turned = pairs[:, 0] > pairs[:, 1]
    pairs[turned], beside = pairs[turned][:, ::-1], contexts.beside.copy()
    beside[turned] = beside[turned][:, ::-1]
    _, once = np.unique(pairs, axis=0, return_index=True)
    once = np.sort(once[pairs[once, 0] != pairs[once, 1]])
    return _take_pairs(replace(contexts, pairs=pairs, beside=beside), once)
