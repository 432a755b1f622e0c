"""Lookups of the concept graph: what holds for every graph, and what a reader may ask of one."""

import time
from itertools import islice, pairwise

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from naming import ConceptGraph
from naming.relations.edges import KINDS, Edges
from sae import InsightError

from .material import closure, direct_matrix, graphs
from .material import related as related


@given(graphs())
def test_every_graph_is_acyclic_and_parents_mirror_children(graph):
    m = graph.n_concepts
    assert not closure(graph.edges().toarray() > 0).diagonal().any()
    for child in range(m):
        for parent in range(m):
            up = graph.synonyms[parent] in graph.parents(child)
            down = graph.synonyms[child] in graph.children(parent)
            assert up == down


@given(graphs())
def test_direct_edges_are_the_fewest_that_keep_every_path(graph):
    direct = direct_matrix(graph)
    assert np.array_equal(closure(direct), closure(graph.edges().toarray() > 0))
    for child, parent in zip(*direct.nonzero(), strict=True):
        without = direct.copy()
        without[child, parent] = False
        assert not closure(without)[child, parent]


@given(graphs())
def test_ancestors_and_descendants_are_what_paths_reach(graph):
    reach = closure(direct_matrix(graph))
    for concept in range(graph.n_concepts):
        own = graph.synonyms[concept]
        assert sorted(graph.ancestors(concept)) == np.flatnonzero(reach[own]).tolist()
        assert sorted(graph.descendants(concept)) == np.flatnonzero(reach[:, own]).tolist()


@given(graphs())
def test_paths_are_all_ways_up_to_the_roots(graph):
    direct = networkx.DiGraph(np.argwhere(direct_matrix(graph)).tolist())
    for concept in range(graph.n_concepts):
        own = int(graph.synonyms[concept])
        direct.add_node(own)
        roots = [c for c in (own, *graph.ancestors(own).tolist()) if not len(graph.parents(c))]
        expected = [[own]] if own in roots else list(networkx.all_simple_paths(direct, own, roots))
        assert sorted(graph.paths(concept)) == sorted(map(tuple, expected))


@given(graphs())
def test_parents_and_children_come_surest_first(graph):
    weights = graph.edges().toarray()
    for concept in range(graph.n_concepts):
        own = graph.synonyms[concept]
        assert (np.diff(weights[own, graph.parents(concept)]) <= 0).all()
        assert (np.diff(weights[graph.children(concept), own]) <= 0).all()


@given(graphs(), st.sampled_from(KINDS))
def test_a_kind_picks_the_edges_of_that_kind_in_the_same_order(graph, kind):
    for concept in range(graph.n_concepts):
        parents = [int(p) for p in graph.parents(concept) if graph.edge(concept, int(p)).kind == kind]
        assert graph.parents(concept, kind).tolist() == parents
        children = [int(c) for c in graph.children(concept) if graph.edge(int(c), concept).kind == kind]
        assert graph.children(concept, kind).tolist() == children


@given(graphs())
def test_synonyms_share_their_relations(graph):
    for concept in range(graph.n_concepts):
        group = {concept, *graph.synonyms_of(concept).tolist()}
        assert group == set(np.flatnonzero(graph.synonyms == graph.synonyms[concept]).tolist())
        for other in group:
            assert graph.parents(other).tolist() == graph.parents(concept).tolist()
            assert graph.children(other).tolist() == graph.children(concept).tolist()


@pytest.fixture
def small() -> ConceptGraph:
    """beak -> duck -> bird, beak -> bird; the last concept stands alone."""
    edges = Edges(
        child=np.array([1, 2, 2]),
        parent=np.array([0, 1, 0]),
        weight=np.array([0.9, 0.8, 0.95]),
        lift=np.array([4.0, 9.0, 3.0]),
        q_value=np.array([1e-9, 1e-5, 0.01]),
        support=np.array([40, 12, 30]),
        kind=np.array([0, 1, -1], np.int8),
        cover=np.array([0.9, 0.1, 0.4]),
        cover_spread=np.array([0.05, 0.02, 0.3]),
    )
    return ConceptGraph.from_edges(
        edges,
        direct=np.array([True, True, False]),
        frequency=np.array([100, 50, 20, 5]),
        tokens=1000,
        mean_codes=csr_array((4, 4), dtype=np.float32),
    )


def test_an_edge_is_given_with_all_its_evidence_also_where_it_is_not_direct(small):
    edge = small.edge(2, 1)
    assert (edge.child, edge.parent, edge.kind, edge.support, edge.direct) == (2, 1, "part-of", 12, True)
    assert [edge.weight, edge.lift, edge.q_value, edge.cover, edge.cover_spread] == pytest.approx(
        [0.8, 9.0, 1e-5, 0.1, 0.02]
    )
    assert small.edge(2, 0).kind is None
    assert not small.edge(2, 0).direct
    assert small.parents(2).tolist() == [1]
    assert list(small.paths(2)) == [(2, 1, 0)]
    assert small.parents(1, "kind-of").tolist() == [0]
    assert small.children(1, "kind-of").tolist() == []


def test_an_edge_that_there_is_not_and_a_kind_that_there_is_not_are_refused(small):
    with pytest.raises(InsightError, match="concept 2 is no parent of concept 0"):
        small.edge(0, 2)
    with pytest.raises(InsightError, match="kind-of or part-of, found 'sort-of'"):
        small.parents(0, "sort-of")


def test_a_concept_is_called_by_its_title_or_its_number(small):
    assert small.title(2) == "concept 2"


def test_a_lattice_of_more_paths_than_can_be_listed_gives_the_first_at_once():
    layers, width = 40, 3
    ids = np.arange(layers * width).reshape(layers, width)
    pairs = [(a, b) for low, high in pairwise(ids) for a in low for b in high]
    child, parent = np.array(pairs).T
    graph = ConceptGraph.from_edges(
        Edges.unmeasured(child, parent, np.ones(len(child))),
        direct=np.ones(len(child), bool),
        frequency=np.arange(1, ids.size + 1),
        tokens=1000,
        mean_codes=csr_array((ids.size, ids.size), dtype=np.float32),
    )
    paths = list(islice(graph.paths(0), 5))
    assert len(set(paths)) == 5
    assert {len(path) for path in paths} == {layers}
    assert len(graph.ancestors(0)) == (layers - 1) * width


def test_lookups_of_a_large_graph_take_time_by_what_they_reach():
    m = 8192
    graph = ConceptGraph.from_edges(
        Edges.unmeasured(np.arange(m - 1), np.arange(1, m), np.ones(m - 1)),
        direct=np.ones(m - 1, bool),
        frequency=np.arange(1, m + 1),
        tokens=10 * m,
        mean_codes=csr_array((m, m), dtype=np.float32),
    )
    started = time.monotonic()
    assert len(graph.ancestors(0)) == len(graph.descendants(m - 1)) == m - 1
    assert time.monotonic() - started < 5
