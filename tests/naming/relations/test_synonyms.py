"""Synonyms are an equivalence, and edges between their groups never form a cycle."""

import networkx
import numpy as np
from hypothesis import given

from naming.relations.edges import Edges
from naming.relations.synonyms import MOST_RATIO, between_groups, heights, representatives

from .material import found_edges


def pairs_of(edges: Edges) -> set[tuple[int, int]]:
    return set(zip(edges.child.tolist(), edges.parent.tolist(), strict=True))


@given(found_edges())
def test_groups_are_what_mutual_edges_of_like_concepts_join(found):
    edges, levels, frequency = found
    mutual = networkx.Graph()
    mutual.add_nodes_from(range(len(frequency)))
    for a, b in pairs_of(edges):
        like = max(frequency[a], frequency[b]) <= MOST_RATIO * min(frequency[a], frequency[b])
        if (b, a) in pairs_of(edges) and levels[a] == levels[b] and like:
            mutual.add_edge(a, b)
    representative = representatives(edges, levels, frequency)
    for group in networkx.connected_components(mutual):
        highest = max(group, key=lambda c: (frequency[c], -c))
        assert {int(representative[c]) for c in group} == {highest}


@given(found_edges())
def test_edges_go_up_between_representatives_each_once_with_the_evidence_of_its_surest_pair(found):
    edges, levels, frequency = found
    representative, height = representatives(edges, levels, frequency), heights(frequency)
    up = between_groups(edges, representative, frequency)
    expected: dict[tuple[int, int], list[tuple[bool, float]]] = {}
    for a, b, weight in zip(edges.child.tolist(), edges.parent.tolist(), edges.weight.tolist(), strict=True):
        pair = int(representative[a]), int(representative[b])
        if height[pair[1]] > height[pair[0]]:
            expected.setdefault(pair, []).append((pair == (a, b), weight))
    assert len(up) == len(expected)
    for a, b, weight in zip(up.child.tolist(), up.parent.tolist(), up.weight.tolist(), strict=True):
        assert weight == max(expected[a, b])[1]


def test_the_height_orders_by_frequency_and_at_a_tie_the_lower_id_is_higher():
    assert heights(np.array([5, 9, 5, 0])).tolist() == [2, 3, 1, 0]


def test_of_two_concepts_that_hold_each_other_the_much_more_frequent_is_the_parent():
    mutual = Edges.unmeasured(np.array([0, 1]), np.array([1, 0]), np.array([0.9, 0.8]))
    cases = (([10, 12], [1, 1], [1, 1]), ([10, 20], [1, 1], [0, 1]), ([10, 12], [1, 0], [0, 1]))
    for frequency, levels, expected in cases:
        counts = np.array(frequency)
        representative = representatives(mutual, np.array(levels), counts)
        assert representative.tolist() == expected
        up = between_groups(mutual, representative, counts)
        assert pairs_of(up) == (set() if expected == [1, 1] else {(0, 1)})
