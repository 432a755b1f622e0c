"""The concept graph against a dense float64 form, and what holds for every graph: no cycles, two-way lookup, thrift."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naming import ConceptGraph, Cooccurrence, Exemplars, build_graph, containment, published_graph
from sae import InsightError, SparseCodes

from ..stand_in import dense_codes, nested_dense, random_dense


def related(dense: torch.Tensor) -> tuple[Cooccurrence, Exemplars]:
    codes = SparseCodes.from_dense(dense)
    counts, exemplars = Cooccurrence(codes.n_concepts), Exemplars(codes.n_concepts)
    counts.update(codes)
    exemplars.update(codes, 0)
    return counts, exemplars


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


def test_containment_is_the_activation_weighted_probability_of_the_parent(generator):
    dense = random_dense(generator, 300, 20)
    counts, _ = related(dense)
    np.testing.assert_allclose(containment(counts).toarray(), dense_containment(dense), rtol=1e-12)


def test_the_published_graph_is_every_pair_above_the_threshold(generator):
    dense = nested_dense(generator, 400, 25)
    expected = dense_containment(dense)
    above = (expected > 0.75) & ~np.eye(25, dtype=bool)
    edges = published_graph(*related(dense)).edges().toarray()
    assert np.array_equal(edges > 0, above)
    np.testing.assert_allclose(edges[above], expected[above], rtol=1e-6)


def test_an_edge_needs_the_threshold_support_lift_and_a_more_frequent_parent(generator):
    dense = nested_dense(generator, 500, 30)
    share, frequency = dense_containment(dense), (dense > 0).sum(0).double().numpy()
    expected = np.zeros((30, 30), dtype=bool)
    for child in range(30):
        for parent in range(30):
            more = (frequency[parent], -parent) > (frequency[child], -child)
            lift = share[child, parent] / (frequency[parent] / 500) if frequency[parent] else 0
            expected[child, parent] = share[child, parent] > 0.6 and frequency[child] >= 40 and lift >= 1.3 and more
    graph = build_graph(*related(dense), threshold=0.6, min_support=40, min_lift=1.3)
    assert np.array_equal(graph.edges().toarray() > 0, expected)


@settings(deadline=None)
@given(dense_codes(fewest_concepts=2), st.floats(0, 0.9), st.integers(0, 5), st.floats(0, 3))
def test_every_graph_is_acyclic_and_its_lookups_agree(dense, threshold, min_support, min_lift):
    graph = build_graph(*related(dense), threshold=threshold, min_support=min_support, min_lift=min_lift)
    m = graph.n_concepts
    edges = graph.edges().toarray() > 0
    assert not closure(edges).diagonal().any()
    for child in range(m):
        for parent in range(m):
            assert (parent in graph.parents(child)) == (child in graph.children(parent))


@settings(deadline=None)
@given(dense_codes(fewest_concepts=2), st.floats(0, 0.6))
def test_direct_edges_are_the_fewest_that_keep_every_path(dense, threshold):
    graph = build_graph(*related(dense), threshold=threshold, min_support=0, min_lift=0)
    m = graph.n_concepts
    direct = np.zeros((m, m), dtype=bool)
    for child in range(m):
        direct[child, graph.parents(child)] = True
    assert np.array_equal(closure(direct), closure(graph.edges().toarray() > 0))
    for child, parent in zip(*direct.nonzero(), strict=True):
        without = direct.copy()
        without[child, parent] = False
        assert not closure(without)[child, parent]


def test_parents_and_children_come_surest_first(generator):
    graph = build_graph(*related(nested_dense(generator, 600, 40)), threshold=0.3, min_support=0, min_lift=0)
    weights = graph.edges().toarray()
    assert len(graph.parent_ids) > 0
    for concept in range(40):
        assert (np.diff(weights[concept, graph.parents(concept)]) <= 0).all()
        assert (np.diff(weights[graph.children(concept), concept]) <= 0).all()


def test_a_parent_that_fires_everywhere_is_none(generator):
    dense = random_dense(generator, 500, 6, density=0.1)
    dense[:, 0] = 1.0
    assert 0 in np.concatenate([published_graph(*related(dense)).parents(c) for c in range(6)])
    assert len(build_graph(*related(dense)).children(0)) == 0


def test_two_concepts_that_always_fire_together_are_parent_and_child_once():
    dense = torch.zeros(100, 3)
    dense[:40, 1] = dense[:41, 2] = 1.0
    graph = build_graph(*related(dense))
    assert graph.parents(1).tolist() == [2]
    assert graph.parents(2).tolist() == []


def test_a_saved_graph_is_read_back_with_the_mean_codes(generator, tmp_path):
    graph = build_graph(*related(nested_dense(generator, 300, 20)), threshold=0.4, min_support=0, min_lift=0)
    graph.save(tmp_path / "relations.npz")
    loaded = ConceptGraph.load(tmp_path / "relations.npz")
    assert loaded.tokens == 300
    for name in ("offsets", "parent_ids", "weights", "direct", "frequency"):
        assert np.array_equal(getattr(loaded, name), getattr(graph, name))
    assert np.array_equal(loaded.mean_codes.toarray(), graph.mean_codes.toarray())
    assert [loaded.children(c).tolist() for c in range(20)] == [graph.children(c).tolist() for c in range(20)]


def test_the_file_is_plain_arrays_under_the_documented_names(generator, tmp_path):
    build_graph(*related(nested_dense(generator, 100, 5))).save(tmp_path / "relations.npz")
    with np.load(tmp_path / "relations.npz", allow_pickle=False) as file:
        assert {"offsets", "parents", "weights", "frequency", "tokens"} <= set(file.files)
        assert {"mean_offsets", "mean_concepts", "mean_activations"} <= set(file.files)


def test_a_file_at_odds_with_itself_is_refused(generator, tmp_path):
    path = tmp_path / "relations.npz"
    build_graph(*related(nested_dense(generator, 200, 8)), threshold=0.2, min_support=0, min_lift=0).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    for name, wrong in {
        "parents": arrays["parents"] + 100,
        "offsets": arrays["offsets"][:-1],
        "direct": [True],
    }.items():
        np.savez(path, **{**arrays, name: wrong})
        with pytest.raises(InsightError, match=r"relations\.npz.*8 concepts"):
            ConceptGraph.load(path)


def test_a_threshold_that_is_no_share_is_refused(generator):
    with pytest.raises(InsightError, match="threshold"):
        build_graph(*related(random_dense(generator, 10, 3)), threshold=1.5)


def test_counts_and_exemplars_of_different_dictionaries_are_refused(generator):
    counts, _ = related(random_dense(generator, 10, 3))
    with pytest.raises(InsightError, match="3 and 4 concepts"):
        build_graph(counts, Exemplars(4))
