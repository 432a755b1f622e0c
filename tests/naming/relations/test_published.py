"""Containment and the published graph against a dense float64 form."""

import numpy as np
import pytest
import torch

from naming import Exemplars, containment, published_graph
from sae import InsightError

from ..stand_in import nested_dense, random_dense
from .material import dense_containment, related


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


def test_mutual_edges_are_kept_both_ways_and_lookups_still_end():
    dense = torch.zeros(50, 4)
    dense[:30, :3] = 1.0
    graph = published_graph(*related(dense))
    assert graph.parents(0).tolist() == [1, 2]
    assert set(graph.ancestors(0).tolist()) == {1, 2}
    assert sorted(graph.paths(0)) == [(0, 1, 2), (0, 2, 1)]


def test_nothing_but_the_weight_is_known_of_a_published_edge():
    dense = torch.zeros(50, 3)
    dense[:30, 0] = dense[:40, 1] = 1.0
    edge = published_graph(*related(dense)).edge(0, 1)
    assert (edge.weight, edge.kind, edge.support, edge.direct) == (1.0, None, 0, True)
    assert np.isnan([edge.lift, edge.q_value, edge.cover, edge.cover_spread]).all()


def test_concepts_that_never_fire_have_no_relations():
    graph = published_graph(*related(torch.zeros(10, 3)))
    assert len(graph.parent_ids) == 0
    assert graph.ancestors(1).tolist() == graph.context(1).tolist() == graph.synonyms_of(1).tolist() == []


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 1.5, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(generator, threshold):
    with pytest.raises(InsightError, match="threshold"):
        published_graph(*related(random_dense(generator, 10, 3)), threshold=threshold)


def test_counts_and_exemplars_of_different_dictionaries_are_refused(generator):
    counts, _ = related(random_dense(generator, 10, 3))
    with pytest.raises(InsightError, match="3 and 4 concepts"):
        published_graph(counts, Exemplars(4))
