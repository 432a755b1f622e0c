"""Which pairs become edges, with what evidence: against plain loops in float64 on fresh random codes."""

from math import comb

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array

from naming import Exemplars, build_graph
from naming.relations.candidates import values_at
from sae import InsightError

from ..stand_in import nested_dense, random_dense
from .material import dense_containment, gathered
from .test_null import plain_peers

M, IMAGES, GRID = 30, 150, (2, 3)
RULES = {"threshold": 0.58765, "min_support": 40, "min_lift": 1.12345, "q": 0.0321}


def images_of(dense: torch.Tensor) -> np.ndarray:
    """bool [images, patches, m]."""
    return (dense > 0).numpy().reshape(-1, GRID[0] * GRID[1], dense.shape[1])


def plain_edges(dense: torch.Tensor, levels: np.ndarray) -> dict[tuple[int, int], tuple[float, float, int]]:
    """Lift, q-value and support of each pair that keeps all rules; mutual ones too."""
    share, active = dense_containment(dense), images_of(dense)
    m, frequency = dense.shape[1], (dense > 0).sum(0).numpy()
    fires = active.any(1)
    trials = fires.sum(0).tolist()
    covered = np.zeros((m, m), int)
    for i in range(m):
        for j in range(m):
            together, alone = (active[:, :, i] & active[:, :, j]).sum(1), active[:, :, i].sum(1)
            covered[i, j] = (fires[:, i] & (2 * together >= alone)).sum() if i != j else 0
    tested = []
    for i in range(m):
        for j in range(m):
            if i == j or share[i, j] <= RULES["threshold"] or frequency[i] < RULES["min_support"]:
                continue
            peers = [k for k in plain_peers(i, levels, frequency, 64) if k != j]
            rate = (sum(int(covered[k, j]) for k in peers) + 1) / (sum(trials[k] for k in peers) + 2)
            hits, n = int(covered[i, j]), trials[i]
            lift = hits / n / rate
            if lift >= RULES["min_lift"]:
                p = sum(comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(hits, n + 1))
                tested.append((p, (i, j), lift, hits))
    living = int((frequency > 0).sum())
    found: dict[tuple[int, int], tuple[float, float, int]] = {}
    smallest = 1.0
    for rank, (p, pair, lift, hits) in reversed(list(enumerate(sorted(tested), 1))):
        smallest = min(smallest, p * living * (living - 1) / rank)
        if smallest <= RULES["q"]:
            found[pair] = lift, smallest, hits
    return found


@pytest.mark.parametrize("dead", [False, True])
def test_edges_and_their_evidence_are_those_of_plain_loops(generator, dead):
    compared = 0
    for _ in range(4):
        dense = nested_dense(generator, IMAGES * GRID[0] * GRID[1], M)
        if dead:
            dense[:, [4, 11, 12]] = 0
        compared += compare_with_plain_loops(dense, np.arange(M) // 12)
    assert compared > 0


def compare_with_plain_loops(dense: torch.Tensor, levels: np.ndarray) -> int:
    """Assert that edges among concepts without synonyms are those of `plain_edges`; how many there are."""
    expected = plain_edges(dense, levels)
    graph = build_graph(gathered(dense, GRID), levels, **RULES)
    frequency = (dense > 0).sum(0).tolist()
    share = dense_containment(dense)
    alone = {c for c in range(M) if not len(graph.synonyms_of(c))}
    up = {(i, j) for i, j in expected if {i, j} <= alone and (frequency[j], -j) > (frequency[i], -i)}
    found = zip(graph.child_ids.tolist(), graph.parent_ids.tolist(), strict=True)
    assert {pair for pair in found if set(pair) <= alone} == up
    for child, parent in up:
        edge = graph.edge(child, parent)
        lift, q_value, support = expected[child, parent]
        assert edge.support == support
        np.testing.assert_allclose([edge.lift, edge.weight], [lift, share[child, parent]], rtol=1e-6)
        np.testing.assert_allclose(edge.q_value, q_value, rtol=1e-9)
    return len(up)


def test_cover_and_its_spread_are_weighted_by_the_patches_of_the_childs_regions():
    images = torch.zeros(40, 3, 4, 3)
    images[:, :, :, 2] = torch.rand(40, 3, 4) + 0.1  # everywhere, so that no level is empty
    images[:20, :2, :, 0] = 1.0  # the parent: 8 patches …
    images[:10, :2, :, 1] = 1.0  # … of which the child is all, …
    images[10:20, 0, 1, 1] = 1.0  # … or one
    graph = build_graph(gathered(images.reshape(-1, 3), (3, 4)), np.zeros(3), min_support=0, min_lift=0, q=0.999)
    edge = graph.edge(1, 0)
    mean = (10 * 8 * 1 + 10 * 1 / 8) / (10 * 8 + 10)
    square = (10 * 8 * 1 + 10 * 1 / 64) / (10 * 8 + 10)
    np.testing.assert_allclose([edge.cover, edge.cover_spread], [mean, (square - mean**2) ** 0.5], rtol=1e-6)


def test_a_few_tokens_prove_nothing():
    dense = torch.zeros(600, 4)
    dense[:3, 0] = dense[:60, 1] = dense[100:300, 2] = dense[300:500, 3] = 1.0
    levels = np.zeros(4)
    assert build_graph(gathered(dense, (1, 1)), levels, min_support=20).parents(0).tolist() == []
    assert build_graph(gathered(dense, (1, 1)), levels, min_support=3, q=0.5).parents(0).tolist() == [1]


def test_no_edges_one_concept_and_dead_ones_give_an_empty_graph(generator):
    for dense in (torch.zeros(60, 5), torch.ones(60, 1), torch.zeros(60, 1), random_dense(generator, 0, 4)):
        m = dense.shape[1]
        graph = build_graph(gathered(dense, (2, 3)), np.zeros(m, np.int64))
        assert len(graph.parent_ids) == len(graph.contexts) == 0
        assert graph.synonyms.tolist() == list(range(m))
        assert graph.parents(0).tolist() == graph.descendants(0).tolist() == graph.context(0).tolist() == []
        assert list(graph.paths(0)) == [(0,)]


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("threshold", 1.0),
        ("threshold", -0.5),
        ("threshold", float("nan")),
        ("q", 0.0),
        ("q", 1.0),
        ("q", float("nan")),
        ("min_lift", -1.0),
        ("min_lift", float("nan")),
        ("min_support", -1),
    ],
)
def test_rules_outside_their_range_are_refused_in_one_line(generator, rule, value):
    evidence = gathered(random_dense(generator, 12, 3), (2, 3))
    with pytest.raises(InsightError, match=str(value)) as caught:
        build_graph(evidence, np.zeros(3, np.int64), **{rule: value})
    assert "\n" not in str(caught.value)


def test_levels_and_exemplars_of_another_dictionary_are_refused(generator):
    evidence = gathered(random_dense(generator, 12, 3), (2, 3))
    with pytest.raises(InsightError, match="each of 3 concepts"):
        build_graph(evidence, np.zeros(4, np.int64))
    evidence.exemplars = Exemplars(4)
    with pytest.raises(InsightError, match="3 and 4 concepts"):
        build_graph(evidence, np.zeros(3, np.int64))


def test_single_entries_of_a_sparse_matrix(generator):
    dense = random_dense(generator, 12, 17).double().numpy()
    rng = np.random.default_rng(generator.initial_seed())
    row, column = rng.integers(0, 12, 300), rng.integers(0, 17, 300)
    assert np.array_equal(values_at(coo_array(dense).tocsr(), row, column), dense[row, column])
    assert values_at(coo_array((3, 3)).tocsr(), np.array([0, 2]), np.array([2, 2])).tolist() == [0, 0]
