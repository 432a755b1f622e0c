"""The concept graph: which concept belongs to which, from co-occurrence.

In: `Cooccurrence` and `Exemplars` of one pass over the codes. Out: `ConceptGraph`, edges child -> parent with the share
of the child's activation that falls on the parent's tokens. `relations.npz` keeps it, with the mean codes that naming
needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, diags_array

from sae.errors import InsightError

from ..evidence.cooccurrence import Cooccurrence
from ..evidence.exemplars import Exemplars
from ..npz import read_npz, write_npz

THRESHOLD = 0.75
"""Published in the naming script (specs/insight.md §1.4): the parent is there for three quarters of the child."""
ARRAYS = ["offsets", "parents", "weights", "direct", "frequency", "tokens"]
MEAN_CODES = ["mean_offsets", "mean_concepts", "mean_activations"]


@dataclass(frozen=True, eq=False)
class ConceptGraph:
    """Edges from child to parent over m concepts, as CSR: row i holds the parents of concept i, the surest first."""

    offsets: np.ndarray
    """int64 [m + 1]."""
    parent_ids: np.ndarray
    """int32 [edges]."""
    weights: np.ndarray
    """float32 [edges]: activation-weighted P(parent | child)."""
    direct: np.ndarray
    """bool [edges]: False where another path of edges leads to the same parent."""
    frequency: np.ndarray
    """int64 [m]: tokens on which each concept fires."""
    tokens: int
    """Tokens that were looked at."""
    mean_codes: csr_array
    """float32 [m, m]: row i is the mean code of concept i's strongest tokens (`Exemplars.mean_codes`)."""

    @property
    def n_concepts(self) -> int:
        return len(self.frequency)

    def parents(self, concept: int) -> np.ndarray:
        """int32: the direct parents of a concept, the surest first."""
        row = slice(self.offsets[concept], self.offsets[concept + 1])
        return self.parent_ids[row][self.direct[row]]

    def children(self, concept: int) -> np.ndarray:
        """int32: the concepts that have this one as a direct parent, the surest first."""
        offsets, children = self._children
        return children[offsets[concept] : offsets[concept + 1]]

    def edges(self) -> csr_array:
        """float32 [m, m]: all edges, also those that are not direct; row child, column parent."""
        shape = (self.n_concepts, self.n_concepts)
        edges = csr_array((self.weights, self.parent_ids, self.offsets), shape=shape, copy=True)
        edges.sort_indices()  # in place, while the graph's own arrays keep the surest first
        return edges

    def save(self, path: Path | str) -> None:
        """Write `relations.npz`: the graph's arrays (`parents` for `parent_ids`), and the mean codes as CSR.

        The latter are `mean_offsets`, `mean_concepts` and `mean_activations`.
        """
        graph = [self.offsets, self.parent_ids, self.weights, self.direct, self.frequency, np.array(self.tokens)]
        mean = [self.mean_codes.indptr, self.mean_codes.indices, self.mean_codes.data]
        write_npz(path, dict(zip(ARRAYS + MEAN_CODES, graph + mean, strict=True)))

    @classmethod
    def load(cls, path: Path | str) -> ConceptGraph:
        """Read what `save` wrote; `InsightError` names a file that is missing, damaged or at odds with itself."""
        remedy = "make it again by `insight relate MODEL CACHE`"
        arrays = read_npz(path, ARRAYS + MEAN_CODES, remedy)
        m = len(arrays["frequency"])
        try:
            for offsets, columns, values in (ARRAYS[:3], MEAN_CODES):
                matrix = csr_array((arrays[values], arrays[columns], arrays[offsets]), shape=(m, m))
                matrix.check_format()
            if arrays["direct"].shape != arrays["parents"].shape:
                raise ValueError(f"{len(arrays['direct'])} direct flags for {len(arrays['parents'])} edges")
        except ValueError as error:
            raise InsightError(f"{path}: expected relations of {m} concepts, found {error}; {remedy}") from None
        return cls(
            offsets=arrays["offsets"],
            parent_ids=arrays["parents"],
            weights=arrays["weights"],
            direct=arrays["direct"],
            frequency=arrays["frequency"],
            tokens=int(arrays["tokens"]),
            mean_codes=matrix,
        )

    @cached_property
    def _children(self) -> tuple[np.ndarray, np.ndarray]:
        child = np.repeat(np.arange(self.n_concepts, dtype=np.int32), np.diff(self.offsets))[self.direct]
        parent, weight = self.parent_ids[self.direct], self.weights[self.direct]
        order = np.lexsort((child, -weight, parent))
        return _offsets(parent, self.n_concepts), child[order]


def containment(cooccurrence: Cooccurrence) -> csr_array:
    """Dn [m, m] float64, Dn[i, j] = D[i, j] / D[i, i]: activation-weighted P(j | i) (specs/insight.md §1.4).

    Concepts that never fire have empty rows; the diagonal of the others is 1.
    """
    weighted = cooccurrence.weighted
    own = weighted.diagonal()
    return csr_array(diags_array(np.divide(1.0, own, out=np.zeros_like(own), where=own > 0)) @ weighted)


def published_graph(cooccurrence: Cooccurrence, exemplars: Exemplars, *, threshold: float = THRESHOLD) -> ConceptGraph:
    """Every pair with Dn > `threshold`, as published: no support asked for, mutual edges both ways, cycles and all."""
    child, parent, weight = _above(cooccurrence, threshold)
    return _graph(child, parent, weight, np.ones(len(child), bool), cooccurrence, exemplars)


def build_graph(
    cooccurrence: Cooccurrence,
    exemplars: Exemplars,
    *,
    threshold: float = THRESHOLD,
    min_support: int = 20,
    min_lift: float = 2.0,
) -> ConceptGraph:
    """The published threshold, less what it lets through by chance; without cycles.

    An edge child -> parent needs Dn > `threshold`; the child on at least `min_support` tokens (three of four tokens
    prove nothing); Dn >= `min_lift` · P(parent), for a parent that fires nearly everywhere is over every concept
    (specs/insight.md §3.7: the mandatory control); and a parent more frequent than the child (at a tie, of lower id,
    which is the coarser level). The last turns mutual edges toward the more frequent, and rules out cycles.
    """
    child, parent, weight = _above(cooccurrence, threshold)
    frequency = cooccurrence.frequency
    more = (frequency[parent] > frequency[child]) | ((frequency[parent] == frequency[child]) & (parent < child))
    lift = weight * cooccurrence.tokens / frequency[parent]
    keep = more & (frequency[child] >= min_support) & (lift >= min_lift)
    child, parent, weight = child[keep], parent[keep], weight[keep]
    return _graph(child, parent, weight, _direct(child, parent, frequency), cooccurrence, exemplars)


def _above(cooccurrence: Cooccurrence, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs with Dn > threshold off the diagonal: child, parent, Dn."""
    if not 0 <= threshold < 1:
        raise InsightError(f"the threshold is a share of the child's activation: expected 0 to 1, found {threshold}")
    edges = containment(cooccurrence).tocoo()
    keep = (edges.data > threshold) & (edges.row != edges.col)
    return edges.row[keep], edges.col[keep], edges.data[keep]


def _direct(child: np.ndarray, parent: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Which edges of an acyclic graph no longer path replaces (transitive reduction), parents being more frequent."""
    parents: dict[int, set[int]] = {}
    for i, j in zip(child.tolist(), parent.tolist(), strict=True):
        parents.setdefault(i, set()).add(j)
    ancestors: dict[int, set[int]] = {}
    indirect: set[tuple[int, int]] = set()
    for i in sorted(parents, key=lambda concept: (-frequency[concept], concept)):  # parents before children
        beyond = set().union(*(ancestors.get(j, set()) for j in parents[i]))
        indirect.update((i, j) for j in parents[i] & beyond)
        ancestors[i] = parents[i] | beyond
    return np.array([pair not in indirect for pair in zip(child.tolist(), parent.tolist(), strict=True)], dtype=bool)


def _graph(
    child: np.ndarray,
    parent: np.ndarray,
    weight: np.ndarray,
    direct: np.ndarray,
    cooccurrence: Cooccurrence,
    exemplars: Exemplars,
) -> ConceptGraph:
    if exemplars.n_concepts != cooccurrence.n_concepts:
        found = f"{cooccurrence.n_concepts} and {exemplars.n_concepts}"
        raise InsightError(f"expected co-occurrence and exemplars of the same codes, found {found} concepts")
    order = np.lexsort((parent, -weight, child))
    return ConceptGraph(
        offsets=_offsets(child, cooccurrence.n_concepts),
        parent_ids=parent[order].astype(np.int32),
        weights=weight[order].astype(np.float32),
        direct=direct[order],
        frequency=cooccurrence.frequency.copy(),
        tokens=cooccurrence.tokens,
        mean_codes=exemplars.mean_codes(),
    )


def _offsets(row: np.ndarray, n_rows: int) -> np.ndarray:
    return np.concatenate([[0], np.bincount(row, minlength=n_rows).cumsum()]).astype(np.int64)
