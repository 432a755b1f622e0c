"""Precision of edges against parents of like frequency."""

import math

import numpy as np
import pytest
import torch

from naming import (
    Cooccurrence,
    Judge,
    Overlaps,
    WordNet,
    by_containment,
    by_masks,
    by_names,
    edge_precision,
    lift,
)
from sae import InsightError, SparseCodes

from ..stand_in import nested_dense


@pytest.fixture
def numbers(generator) -> np.random.Generator:
    return np.random.default_rng(generator.initial_seed())


def table_judge(table: np.ndarray, known: np.ndarray | None = None) -> Judge:
    known = np.ones(len(table), dtype=bool) if known is None else known
    return Judge(lambda child, parent: table[child, parent], known, known)


def test_precision_and_null_equal_the_plain_form(numbers):
    m, neighbours = 40, 6
    frequency, level = numbers.integers(1, 30, m), numbers.integers(3, size=m)
    table, known = numbers.random((m, m)) < 0.4, numbers.random(m) < 0.8
    child, parent = (numbers.integers(m, size=200) for _ in range(2))
    found = edge_precision(child, parent, table_judge(table, known), frequency, level, neighbours=neighbours)
    judged, own, null = [], [], []
    for edge, (c, p) in enumerate(zip(child, parent)):
        if c == p or not (known[c] and known[p]):
            continue
        peers = [i for i in range(m) if known[i] and level[i] == level[p]]
        peers.sort(key=lambda i: (frequency[i], i))
        start = max(0, min(peers.index(p) - neighbours // 2, len(peers) - neighbours - 1))
        others = [i for i in peers[start : start + neighbours + 1] if i not in (c, p)]
        if others:
            judged.append(edge)
            own.append(table[c, p])
            null.append(sum(table[c, i] for i in others) / len(others))
    assert found.edges == len(own)
    assert found.judged.tolist() == judged
    assert found.right.tolist() == own
    assert found.chance == pytest.approx(null)
    assert found.precision.value == pytest.approx(sum(own) / len(own))
    assert found.null.value == pytest.approx(sum(null) / len(null))
    assert found.ratio.value == pytest.approx(sum(own) / sum(null))
    assert found.ratio.low <= found.ratio.value <= found.ratio.high


def test_chance_is_what_another_parent_of_like_frequency_gives(numbers):
    m = 60
    table = np.zeros((m, m), dtype=bool)
    table[:, m // 2 :] = True  # frequent parents are right for every child
    child, parent = np.arange(20), np.arange(20) + 40
    frequency, level = np.arange(m) + 1, np.zeros(m, dtype=int)
    blind = edge_precision(child, parent, table_judge(table), frequency, level, neighbours=8)
    assert (blind.precision.value, blind.null.value, blind.ratio.value) == (1, 1, 1)
    far = edge_precision(child, parent, table_judge(table), frequency, level, neighbours=m - 1)
    assert far.ratio.value > 1.8
    own = np.zeros((m, m), dtype=bool)
    own[child, parent] = True
    true = edge_precision(child, parent, table_judge(own), frequency, level, neighbours=8)
    assert (true.precision.value, true.null.value, true.ratio.value) == (1, 0, math.inf)


def test_edges_of_one_parent_are_drawn_together(numbers):
    m = 300
    frequency, level = np.arange(m) + 1, np.zeros(m, dtype=int)
    table = np.zeros((m, m), dtype=bool)
    table[:, 200:250] = True  # of a hundred parents half are right, for every child
    apart = edge_precision(np.arange(100), np.arange(200, 300), table_judge(table), frequency, level)
    child = numbers.integers(200, size=5000)
    together = edge_precision(child, np.arange(5000) % 100 + 200, table_judge(table), frequency, level)
    assert together.precision == apart.precision  # many edges, but no more parents
    assert 0.3 < apart.precision.low < apart.precision.value == 0.5 < apart.precision.high < 0.7


def test_parents_are_compared_within_their_level(numbers):
    level = np.array([0, 0, 0, 1, 1, 1])
    table = np.zeros((6, 6), dtype=bool)
    table[0] = [False, True, True, False, False, False]
    found = edge_precision(np.array([0]), np.array([1]), table_judge(table), np.arange(6) + 1, level)
    assert (found.precision.value, found.null.value) == (1, 1)


def test_nothing_to_judge_is_nan():
    table, none = np.ones((4, 4), dtype=bool), np.zeros(0, dtype=np.int64)
    frequency, level = np.ones(4, dtype=np.int64), np.arange(4)
    for found in (
        edge_precision(none, none, table_judge(table), frequency, level),
        edge_precision(np.array([0]), np.array([1]), table_judge(table), frequency, level),  # alone at its level
        edge_precision(np.array([0]), np.array([1]), table_judge(table, np.zeros(4, bool)), frequency, level * 0),
        edge_precision(np.array([2]), np.array([2]), table_judge(table), frequency, level * 0),
    ):
        assert found.edges == 0
        assert math.isnan(found.precision.value)
        assert math.isnan(found.ratio.low)


def test_names_judge_by_wordnet_where_it_knows_them():
    wordnet = WordNet.load()
    names = ["beagle", "dog", "wheel", "car", None, "selfie", "dog", "sports car"]
    kinds = by_names(names, wordnet.is_kind_of)
    assert kinds.children.tolist() == [True, True, True, True, False, False, True, True]
    child, parent = np.array([0, 1, 2, 7, 1]), np.array([1, 0, 3, 3, 6])
    assert kinds.right(child, parent).tolist() == [True, False, False, True, True]
    parts = by_names(names, wordnet.is_part_of)
    assert parts.right(child, parent).tolist() == [False, False, True, False, False]
    found = edge_precision(np.array([0, 4]), np.array([1, 1]), kinds, np.ones(8, int), np.zeros(8, int))
    assert found.edges == 1
    assert found.null.value == 1 / 4  # of wheel, car, dog and sports car


def test_names_are_asked_once_for_each_pair():
    asked = []

    def related(child: str, parent: str) -> bool:
        asked.append((child, parent))
        return True

    judge = by_names(["dog", "cat", "dog"], related)
    assert judge.right(np.array([0, 2, 1]), np.array([1, 1, 2])).tolist() == [True] * 3
    assert sorted(asked) == [("cat", "dog"), ("dog", "cat")]
    assert judge.right(np.zeros(0, int), np.zeros(0, int)).tolist() == []


def test_masks_judge_by_the_share_of_the_child_in_the_label_of_the_parent(generator):
    n, m = 600, 6
    classes = torch.randint(-1, 3, (n,), generator=generator)
    dense = torch.rand(n, m, generator=generator) * (torch.rand(n, m, generator=generator) < 0.3)
    dense[:, 0], dense[:, 1] = (classes == 0).float(), (classes == 1).float()
    dense[:, 2] = dense[:, 0] * (torch.arange(n) % 2)  # a part of what 0 is
    dense[:, 5] = 0
    overlaps = Overlaps(m, 3)
    overlaps.update(SparseCodes.from_dense(dense), classes, torch.arange(n) // 10)
    reference = overlaps.reference()
    judge = by_masks(overlaps, reference, least=0.2871)  # no tie, whatever is drawn
    assert judge.parents.tolist() == (reference.label >= 0).tolist()
    assert judge.children.tolist() == [True] * 5 + [False]
    parents = np.flatnonzero(judge.parents)
    assert set(parents) >= {0, 1, 2}
    for child in range(5):
        seen = [p for p in range(n) if dense[p, child] > 0 and classes[p] >= 0]
        for parent in parents:
            inside = sum(int(classes[p]) == reference.label[parent] for p in seen)
            right = judge.right(np.array([child]), np.array([parent]))
            assert right.tolist() == [inside >= 0.2871 * len(seen)]
    assert by_masks(overlaps, reference).right(np.array([2, 2]), np.array([0, 1])).tolist() == [True, False]


def test_containment_on_other_photographs_equals_the_dense_form(generator):
    dense = nested_dense(generator, 400, 8)
    dense[:, 7] = 0
    tokens = Cooccurrence(8)
    tokens.update(SparseCodes.from_dense(dense))
    a, active = dense.double(), (dense > 0).double()
    expected = (a.T @ active) / a.sum(0)[:, None]
    child, parent = (index.flatten() for index in np.meshgrid(np.arange(7), np.arange(7)))
    judge = by_containment(tokens)
    assert judge.right(child, parent) == pytest.approx(expected[child, parent].numpy())
    share = active.mean(0)
    assert lift(child, parent, tokens) == pytest.approx((expected / share)[child, parent].numpy())
    assert judge.children.tolist() == (active.sum(0) >= 20).tolist()
    assert not judge.parents[7]
    with_dead = np.array([7, 0]), np.array([0, 7])
    assert np.isnan(lift(*with_dead, tokens)).all()


def test_arrays_that_do_not_fit_are_refused():
    judge, ones = table_judge(np.ones((4, 4), dtype=bool)), np.ones(4, dtype=np.int64)
    with pytest.raises(InsightError, match="found 2, 1"):
        edge_precision(np.array([0, 1]), np.array([1]), judge, ones, ones)
    with pytest.raises(InsightError, match="5 concepts"):
        edge_precision(np.array([0]), np.array([1]), judge, np.ones(5, int), np.ones(5, int))
    with pytest.raises(InsightError, match="at least one neighbour"):
        edge_precision(np.array([0]), np.array([1]), judge, ones, ones, neighbours=0)
