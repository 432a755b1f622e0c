"""What tests of relations need: evidence of dense codes, and graphs of random edges."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import strategies as st
from scipy.sparse import csr_array

from naming import ConceptGraph, Cooccurrence, Evidence, Exemplars
from naming.relations.edges import Edges
from naming.relations.reduction import direct_edges
from naming.relations.synonyms import between_groups, heights, representatives
from sae import SparseCodes


def related(dense: torch.Tensor) -> tuple[Cooccurrence, Exemplars]:
    codes = SparseCodes.from_dense(dense)
    counts, exemplars = Cooccurrence(codes.n_concepts), Exemplars(codes.n_concepts)
    counts.update(codes)
    exemplars.update(codes, 0)
    return counts, exemplars


def gathered(dense: torch.Tensor, grid: tuple[int, int]) -> Evidence:
    """Evidence of images whose codes follow one another in `dense` [images · h · w, m]; features are all zero."""
    evidence = Evidence(dense.shape[1], grid, 1)
    evidence.update(SparseCodes.from_dense(dense), torch.zeros(len(dense), 1), 0)
    return evidence


def dense_containment(dense: torch.Tensor) -> np.ndarray:
    strength, active = dense.double().numpy(), (dense > 0).double().numpy()
    d = strength.T @ active
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(d / np.diag(d)[:, None])


def closure(edges: np.ndarray) -> np.ndarray:
    """Which concept reaches which over one edge or more."""
    reach = edges.copy()
    for _ in range(len(edges)):
        reach = reach | ((reach.astype(int) @ edges.astype(int)) > 0)
    return reach


def direct_matrix(graph: ConceptGraph) -> np.ndarray:
    """bool [m, m]: the direct edges, by the lookup `parents` of each representative."""
    found = np.zeros((graph.n_concepts,) * 2, bool)
    for child in np.flatnonzero(graph.synonyms == np.arange(graph.n_concepts)):
        found[child, graph.parents(int(child))] = True
    return found


@st.composite
def found_edges(draw) -> tuple[Edges, np.ndarray, np.ndarray]:
    """Edges as tests leave them, mutual ones and cycles among them; levels; frequencies with ties."""
    m = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    child, parent = ((rng.random((m, m)) < draw(st.floats(0, 0.6))) & ~np.eye(m, dtype=bool)).nonzero()
    n = len(child)
    edges = replace(
        Edges.unmeasured(child, parent, rng.integers(1, 5, n) / 4),
        kind=rng.integers(-1, 2, n).astype(np.int8),
        lift=rng.random(n) * 9,
        q_value=rng.random(n) / 20,
        support=rng.integers(1, 99, n),
    )
    return edges, rng.integers(0, 3, m), rng.integers(1, 9, m)


@st.composite
def graphs(draw) -> ConceptGraph:
    """Graphs of random edges: synonyms merged, without cycles."""
    edges, levels, frequency = draw(found_edges())
    synonyms = representatives(edges, levels, frequency)
    edges = between_groups(edges, synonyms, frequency)
    m = len(frequency)
    return ConceptGraph.from_edges(
        edges,
        direct=direct_edges(edges.child, edges.parent, heights(frequency)),
        frequency=frequency,
        tokens=1000,
        mean_codes=csr_array((m, m), dtype=np.float32),
        synonyms=synonyms,
    )
