"""What was planted in a made-up world is found, with the right kinds, and hardly anything else."""

import numpy as np
import pytest
import torch

from naming import ConceptGraph, build_graph

from .material import gathered
from .worlds import World, world


@pytest.fixture(scope="module")
def planted() -> World:
    seed = torch.Generator()
    print(f"seed {seed.seed()}")
    return world(seed, 600)


@pytest.fixture(scope="module")
def graph(planted: World) -> ConceptGraph:
    return build_graph(gathered(planted.codes, planted.grid), planted.levels)


def edges_of(graph: ConceptGraph) -> set[tuple[int, int]]:
    return set(zip(graph.child_ids.tolist(), graph.parent_ids.tolist(), strict=True))


def test_kinds_and_parts_are_found_and_told_apart(planted, graph):
    assert {pair for pair in planted.kinds if pair in edges_of(graph)} == planted.kinds
    assert {graph.edge(*pair).kind for pair in planted.kinds} == {"kind-of"}
    assert {graph.edge(*pair).kind for pair in planted.parts} == {"part-of"}
    for child, parent in planted.parts:
        assert graph.edge(child, parent).cover == pytest.approx(3 / 16, abs=0.03)


def test_nothing_else_is_found(planted, graph):
    assert edges_of(graph) == planted.kinds | planted.parts


def test_doubles_are_synonyms_and_no_one_else(planted, graph):
    groups = {(c, *graph.synonyms_of(c).tolist()) for c in range(graph.n_concepts) if len(graph.synonyms_of(c))}
    assert {tuple(sorted(group)) for group in groups} == planted.doubles


def test_neighbours_are_context_and_false_ones_are_few(planted, graph):
    found = {tuple(pair) for pair in graph.contexts.pairs.tolist()}
    assert planted.neighbours <= found
    assert len(found - planted.neighbours) <= 3
    for left, right in planted.neighbours:
        assert right in graph.context(left)
        assert left in graph.context(right)
        assert len(graph.parents(left)) == len(graph.children(left)) == 0


def test_false_discoveries_stay_within_their_rate_where_nothing_but_the_test_holds_them_back(planted):
    evidence = gathered(planted.codes, planted.grid)
    loose = build_graph(evidence, planted.levels, threshold=0, min_support=0, min_lift=0, q=0.05)
    found = edges_of(loose)
    alike = {pair for pair in found if planted.family[pair[0]] == planted.family[pair[1]]}
    assert len(alike) >= 18
    assert len(found) - len(alike) <= 0.05 * len(found) + 12  # some four deviations more than their expected number


def test_a_parent_that_is_everywhere_is_none(planted):
    codes = planted.codes.clone()
    everywhere = codes.shape[1] - 1
    codes[:, everywhere] = 1.0
    graph = build_graph(gathered(codes, planted.grid), planted.levels)
    assert graph.children(everywhere).tolist() == []


def test_the_evidence_of_an_edge_counts_images(planted, graph):
    child, parent = min(planted.kinds)
    active = (planted.codes > 0).reshape(-1, *planted.grid, graph.n_concepts).numpy()
    assert graph.edge(child, parent).support == active[..., child].any((1, 2)).sum()
    assert graph.edge(child, parent).weight == pytest.approx(1)
    assert graph.edge(child, parent).q_value < 1e-10
    assert np.isfinite(graph.lift).all()
