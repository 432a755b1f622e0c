"""Context pairs against plain loops on fresh random codes."""

from math import comb

import numpy as np
import pytest
import torch

from naming import build_graph
from naming.relations.context import OFTEN, SELDOM, ContextPairs

from .material import gathered
from .test_null import plain_peers

GRID, M = (4, 4), 14


@pytest.fixture
def dense(generator) -> torch.Tensor:
    """Rectangles anywhere, and some pairs of halves of one rectangle, in 120 images."""
    rng = np.random.default_rng(generator.initial_seed())
    fires = np.zeros((120, *GRID, M), bool)
    for image in fires:
        for pair in range(4):
            if rng.random() < 0.3:
                top, left = rng.integers(3), rng.integers(3)
                image[top : top + 2, left, 2 * pair] = image[top : top + 2, left + 1, 2 * pair + 1] = True
        for concept in range(8, M - 1):
            if rng.random() < 0.3:
                top, left = rng.integers(4), rng.integers(4)
                image[top : top + 2, left : left + 2, concept] = True
    return torch.from_numpy(fires.reshape(-1, M)).float()


def test_pairs_are_those_of_plain_loops(dense):
    evidence = gathered(dense, GRID)
    regions, frequency = evidence.regions, (dense > 0).sum(0).numpy()
    beside, inside = regions.beside.toarray().tolist(), regions.inside.toarray()
    total, images = regions.regions.tolist(), regions.images.tolist()
    levels = np.zeros(M, np.int64)

    def one_way(i: int, j: int) -> tuple[float, float, float]:
        """Share, lift, p-value."""
        peers = [k for k in plain_peers(i, levels, frequency, 64) if k != j]
        rate = (sum(beside[k][j] for k in peers) + 1) / (sum(total[k] for k in peers) + 2)
        n, hits = images[i], beside[i][j] * images[i] // total[i]
        p = sum(comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(hits, n + 1))
        return beside[i][j] / total[i], beside[i][j] / total[i] / rate, p

    tested = []
    for i in range(M - 1):
        for j in range(i + 1, M - 1):
            ways = one_way(i, j), one_way(j, i)
            on = max(inside[i, j] / regions.area[i], inside[j, i] / regions.area[j])
            if min(w[0] for w in ways) >= OFTEN and on <= SELDOM and min(w[1] for w in ways) >= 1.2345:
                tested.append((max(w[2] for w in ways), (i, j), ways))
    pairs = (M - 1) * (M - 2) // 2
    passing = [k for k, (p, _, _) in enumerate(sorted(tested), 1) if p * pairs <= 0.0321 * k]
    expected = {pair: ways for _, pair, ways in sorted(tested)[: max(passing, default=0)]}
    assert {(0, 1), (2, 3), (4, 5), (6, 7)} <= set(expected)

    found = build_graph(evidence, levels, q=0.0321, min_lift=1.2345).contexts
    assert {tuple(pair) for pair in found.pairs.tolist()} == set(expected)
    for row, pair in enumerate(found.pairs.tolist()):
        ways = expected[tuple(pair)]
        np.testing.assert_allclose(found.beside[row], [way[0] for way in ways], rtol=1e-6)
        np.testing.assert_allclose(found.lift[row], min(way[1] for way in ways), rtol=1e-6)


def test_pairs_come_surest_first_and_are_seen_from_both_ends():
    pairs = np.array([[2, 5], [0, 2], [1, 2]], np.int32)
    contexts = ContextPairs(pairs, np.ones((3, 2), np.float32), np.ones(3, np.float32), np.array([1e-9, 1e-5, 0.01]))
    assert contexts.of(2).tolist() == [5, 0, 1]
    assert contexts.of(5).tolist() == [2]
    assert contexts.of(4).tolist() == []


def test_a_concept_on_another_is_not_its_context(dense):
    ring = dense.clone()
    ring[:, 1] = torch.maximum(ring[:, 0], ring[:, 1])  # the right half now is the whole
    graph = build_graph(gathered(ring, GRID), np.zeros(M, np.int64))
    assert 1 not in graph.context(0)
