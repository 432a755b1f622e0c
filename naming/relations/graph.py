"""The concept graph: which concept belongs to which, with the evidence for it.

In: edges from `build_graph` or `published_graph`. Out: `ConceptGraph`, which answers who is whose parent, child,
synonym and context, and is kept in `relations.npz` (`file.py`) with the mean codes that naming needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from sae.errors import InsightError

from ..evidence.cooccurrence import Cooccurrence
from ..evidence.exemplars import Exemplars
from .context import ContextPairs
from .edges import KINDS, Edges, Kind

if TYPE_CHECKING:
    import networkx

Rows = tuple[np.ndarray, np.ndarray]
"""CSR of edges by concept: offsets int64 [m + 1], rows of the edge arrays."""


@dataclass(frozen=True)
class Edge:
    """One edge with all that is known of it; see `ConceptGraph` for what each value means."""

    child: int
    parent: int
    kind: Kind | None
    weight: float
    direct: bool
    lift: float
    q_value: float
    support: int
    cover: float
    cover_spread: float


@dataclass(frozen=True, eq=False)
class ConceptGraph:
    """Edges from child to parent over m concepts, as CSR: row i holds the parents of concept i, the surest first.

    Lookups answer for a concept's representative: of synonyms, only the representative has edges, and what is asked
    of another of them is answered as if it had been asked of it. They come from the direct edges alone.
    """

    offsets: np.ndarray
    """int64 [m + 1]."""
    parent_ids: np.ndarray
    """int32 [edges]."""
    weights: np.ndarray
    """float32 [edges]: activation-weighted P(parent | child)."""
    direct: np.ndarray
    """bool [edges]: False where another path of edges leads to the same parent."""
    kind: np.ndarray
    """int8 [edges]: index into `KINDS`; −1 where the regions speak for neither, or were not looked at."""
    lift: np.ndarray
    """float32 [edges]: in how large a share of its images the child is covered by the parent, over that share for
    concepts like the child. NaN, as all evidence below, where it was not looked at (`published_graph`)."""
    q_value: np.ndarray
    """float64 [edges]: the smallest false discovery rate at which the edge is still found."""
    support: np.ndarray
    """int64 [edges]: images in which the parent covers the child."""
    cover: np.ndarray
    """float32 [edges]: mean share of the parent's region that the child's makes up, where it stands on it."""
    cover_spread: np.ndarray
    """float32 [edges]: standard deviation of that share."""
    synonyms: np.ndarray
    """int32 [m]: the representative of each concept, itself where it is alone."""
    contexts: ContextPairs
    """Pairs of concepts that stand beside each other."""
    frequency: np.ndarray
    """int64 [m]: tokens on which each concept fires."""
    tokens: int
    """Tokens that were looked at."""
    mean_codes: csr_array = field(repr=False)
    """float32 [m, m]: row i is the mean code of concept i's strongest tokens (`Exemplars.mean_codes`)."""
    titles: tuple[str, ...] | None = None
    """What the concepts are called in exports; not saved. None: "concept 812"."""

    @classmethod
    def from_edges(
        cls,
        edges: Edges,
        *,
        direct: np.ndarray,
        frequency: np.ndarray,
        tokens: int,
        mean_codes: csr_array,
        synonyms: np.ndarray | None = None,
        contexts: ContextPairs | None = None,
    ) -> ConceptGraph:
        """A graph of edges in any order; without synonyms and context pairs unless they are given."""
        m = len(frequency)
        order = np.lexsort((edges.parent, -edges.weight, edges.child))
        edges = edges.take(order)
        return cls(
            offsets=_offsets(edges.child, m),
            parent_ids=edges.parent.astype(np.int32),
            weights=edges.weight.astype(np.float32),
            direct=direct[order],
            kind=edges.kind,
            lift=edges.lift.astype(np.float32),
            q_value=edges.q_value,
            support=edges.support,
            cover=edges.cover.astype(np.float32),
            cover_spread=edges.cover_spread.astype(np.float32),
            synonyms=np.arange(m, dtype=np.int32) if synonyms is None else synonyms,
            contexts=ContextPairs.none() if contexts is None else contexts,
            frequency=frequency.copy(),
            tokens=tokens,
            mean_codes=mean_codes,
        )

    @property
    def n_concepts(self) -> int:
        return len(self.frequency)

    @cached_property
    def child_ids(self) -> np.ndarray:
        """int32 [edges]: the child of each edge, beside `parent_ids`."""
        return np.repeat(np.arange(self.n_concepts, dtype=np.int32), np.diff(self.offsets))

    def title(self, concept: int) -> str:
        """What a concept is called."""
        return f"concept {concept}" if self.titles is None else self.titles[concept]

    def parents(self, concept: int, kind: Kind | None = None) -> np.ndarray:
        """int32: the direct parents of a concept (of one kind), the surest first."""
        return self.parent_ids[self._edges_from(self._up, concept, kind)]

    def children(self, concept: int, kind: Kind | None = None) -> np.ndarray:
        """int32: the concepts that have this one as a direct parent (of one kind), the surest first."""
        return self.child_ids[self._edges_from(self._down, concept, kind)]

    def kinds_around(self, concept: int) -> dict[int, Kind]:
        """The kind of the edge to each direct parent and child, where one was told; none of them is both."""
        up, down = self._edges_from(self._up, concept), self._edges_from(self._down, concept)
        others, kinds = np.append(self.parent_ids[up], self.child_ids[down]), self.kind[np.append(up, down)]
        return {int(other): KINDS[kind] for other, kind in zip(others, kinds, strict=True) if kind >= 0}

    def ancestors(self, concept: int) -> np.ndarray:
        """int32: every concept that parents of parents lead to, the nearest first."""
        return self._reached(concept, self._up, self.parent_ids)

    def descendants(self, concept: int) -> np.ndarray:
        """int32: every concept that children of children lead to, the nearest first."""
        return self._reached(concept, self._down, self.child_ids)

    def paths(self, concept: int) -> Iterator[tuple[int, ...]]:
        """Every way from a concept over its parents up to one that has none, the surest parents first.

        One by one, as there may be more than can be listed; a path meets no concept twice.
        """
        stack: list[tuple[int, ...]] = [(int(self.synonyms[concept]),)]
        while stack:
            path = stack.pop()
            further = [(*path, parent) for parent in self.parents(path[-1]).tolist() if parent not in path]
            if not further:
                yield path
            stack.extend(reversed(further))

    def synonyms_of(self, concept: int) -> np.ndarray:
        """int32: the other concepts of its group, by id."""
        by_group, grouped = self._groups
        start, stop = np.searchsorted(grouped, [self.synonyms[concept], self.synonyms[concept] + 1])
        group = by_group[start:stop]
        return group[group != concept]

    def context(self, concept: int) -> np.ndarray:
        """int32: the concepts that stand beside this one and seldom on it, the surest first."""
        return self.contexts.of(int(self.synonyms[concept]))

    def edge(self, child: int, parent: int) -> Edge:
        """The edge between two concepts, direct or not; `InsightError` where there is none."""
        low, high = self.offsets[self.synonyms[child]], self.offsets[self.synonyms[child] + 1]
        found = np.flatnonzero(self.parent_ids[low:high] == self.synonyms[parent])
        if not len(found):
            known = ", ".join(map(str, self.parents(child).tolist())) or "none"
            raise InsightError(f"concept {parent} is no parent of concept {child}; its parents are {known}")
        return self.edge_at(int(low + found[0]))

    def edge_at(self, row: int) -> Edge:
        """The edge in one row of the edge arrays."""
        return Edge(
            child=int(self.child_ids[row]),
            parent=int(self.parent_ids[row]),
            kind=kind_name(int(self.kind[row])),
            weight=float(self.weights[row]),
            direct=bool(self.direct[row]),
            lift=float(self.lift[row]),
            q_value=float(self.q_value[row]),
            support=int(self.support[row]),
            cover=float(self.cover[row]),
            cover_spread=float(self.cover_spread[row]),
        )

    def edges(self) -> csr_array:
        """float32 [m, m]: all edges, also those that are not direct; row child, column parent."""
        shape = (self.n_concepts, self.n_concepts)
        edges = csr_array((self.weights, self.parent_ids, self.offsets), shape=shape, copy=True)
        edges.sort_indices()  # in place, while the graph's own arrays keep the surest first
        return edges

    def to_networkx(self, concepts: Iterable[int] | None = None) -> networkx.DiGraph:
        """A `networkx.DiGraph`, as `export.as_networkx` describes it."""
        from .export import as_networkx

        return as_networkx(self, concepts)

    def save_graphml(self, path: Path | str, concepts: Iterable[int] | None = None) -> None:
        """Write the graph as GraphML, as `export.write_graphml` describes it."""
        from .export import write_graphml

        write_graphml(self, path, concepts)

    def to_mermaid(self, concepts: Iterable[int] | None = None) -> str:
        """A Mermaid flowchart, as `mermaid.as_mermaid` describes it."""
        from .mermaid import as_mermaid

        return as_mermaid(self, concepts)

    def save(self, path: Path | str) -> None:
        """Write `relations.npz`, as `file.write_relations` describes it."""
        from .file import write_relations

        write_relations(self, path)

    @classmethod
    def load(cls, path: Path | str) -> ConceptGraph:
        """Read what `save` wrote; `InsightError` names a file that is missing, old, damaged or at odds with itself."""
        from .file import read_relations

        return read_relations(path)

    def _edges_from(self, table: Rows, concept: int, kind: Kind | None = None) -> np.ndarray:
        """Rows of the edge arrays: a concept's direct edges of one kind in `_up` or `_down`."""
        offsets, rows = table
        own = self.synonyms[concept]
        rows = rows[offsets[own] : offsets[own + 1]]
        if kind is None:
            return rows
        if kind not in KINDS:
            raise InsightError(f"expected a kind of edge, {' or '.join(KINDS)}, found {kind!r}")
        return rows[self.kind[rows] == KINDS.index(kind)]

    def _reached(self, concept: int, table: Rows, ends: np.ndarray) -> np.ndarray:
        """Breadth first, a step for all concepts of one distance; each edge that leads on is looked at once."""
        offsets, rows = table
        seen = np.zeros(self.n_concepts, bool)
        steps = [np.array([self.synonyms[concept]], np.int32)]
        seen[steps[0]] = True
        while len(here := steps[-1]):
            starts, counts = offsets[here], offsets[here + 1] - offsets[here]
            places = np.arange(counts.sum()) + np.repeat(starts - counts.cumsum() + counts, counts)
            further = np.unique(ends[rows[places]])
            steps.append(further[~seen[further]])
            seen[steps[-1]] = True
        return np.concatenate(steps[1:])

    @cached_property
    def _groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Concepts sorted by their representative, int32, and the representative of each."""
        order = self.synonyms.argsort(kind="stable")
        return order.astype(np.int32), self.synonyms[order]

    @cached_property
    def _up(self) -> Rows:
        """The direct edges by child, the surest first."""
        rows = np.flatnonzero(self.direct)
        return _offsets(self.child_ids[rows], self.n_concepts), rows

    @cached_property
    def _down(self) -> Rows:
        """The direct edges by parent, the surest first."""
        rows = np.flatnonzero(self.direct)
        rows = rows[np.lexsort((self.child_ids[rows], -self.weights[rows], self.parent_ids[rows]))]
        return _offsets(self.parent_ids[rows], self.n_concepts), rows


def kind_name(kind: int) -> Kind | None:
    """The kind an int8 of `ConceptGraph.kind` stands for."""
    return None if kind < 0 else KINDS[kind]


def require_same_concepts(exemplars: Exemplars, cooccurrence: Cooccurrence) -> None:
    """`InsightError` unless both were taken from codes of one dictionary."""
    if exemplars.n_concepts != cooccurrence.n_concepts:
        found = f"{cooccurrence.n_concepts} and {exemplars.n_concepts}"
        raise InsightError(f"expected co-occurrence and exemplars of the same codes, found {found} concepts")


def _offsets(row: np.ndarray, n_rows: int) -> np.ndarray:
    return np.concatenate([[0], np.bincount(row, minlength=n_rows).cumsum()]).astype(np.int64)
