"""What the benchmark of names counts: draws, labels of concepts by masks, and edges judged by them."""

import numpy as np
import pytest
import torch

from benchmarks.concepts import material, related
from benchmarks.concepts.answers import KIND, STRICT, Answers
from benchmarks.concepts.draws import Draws, interval, quotient, ratio, share, surest
from benchmarks.concepts.material import Masked, group_labels
from benchmarks.concepts.modes import BEST
from benchmarks.concepts.references import Labelled, best_labels, label_concepts
from benchmarks.concepts.related import Verdicts, edge_rows, kinds_by_masks, parts_by_masks
from benchmarks.concepts.rows import BOTH, OPEN, Table
from naming import Judge, WordNet
from sae import SparseCodes
from sae.errors import InsightError

GRID = 16  # patches of a made-up photograph


def answers(right: list[float], confidence: list[float] | None = None) -> Answers:
    n = len(right)
    values = {f"top-1 {KIND}": np.array(right), f"top-1 {STRICT}": np.array(right)}
    return Answers(
        np.arange(n), np.array([f"label {i % 3}" for i in range(n)]), np.array(confidence or [0.0] * n), values
    )


def masked(classes: np.ndarray, labels: tuple[str, ...], *groups: dict[str, str]) -> Masked:
    names, groupings = group_labels(labels, groups)
    return Masked("made up", names, np.arange(len(classes)), classes.astype(np.int16), groupings)


def test_a_draw_takes_one_dictionary_and_its_units_whole() -> None:
    units = [np.array([7, 7, 3, 9]), np.array([1, 2])]
    draws = Draws.of_concepts(units, seed=0)
    assert draws.mixture.sum(0).tolist() == [1.0] * draws.mixture.shape[1]
    assert set(np.unique(draws.mixture)) == {0.0, 1.0}
    first, second = draws.weights
    assert (first[:, 0] == first[:, 1]).all()
    assert (first[:, 1:].sum(1) == 3).all()
    assert (second.sum(1) == 2).all()
    together = Draws.of_labels([np.array(["a", "b"]), np.array(["b", "a", "b"])], seed=0)
    assert (together.weights[0][:, 1] == together.weights[1][:, 0]).all()
    assert (together.weights[0][:, 0] == together.weights[1][:, 1]).all()


def test_figures_of_weighted_entries_are_those_of_entries_repeated() -> None:
    rng = np.random.default_rng()
    values, below, sure = rng.random((3, 40))
    times = rng.integers(0, 4, 40)
    times[0] = 1
    many = np.repeat(np.arange(40), times)
    weights = times[None].astype(float)
    assert share([values])(0, weights)[0] == pytest.approx(values[many].mean())
    assert quotient([values], [below])(0, weights)[0] == pytest.approx(values[many].sum() / below[many].sum())
    ordered = sorted(many, key=lambda i: -sure[i])
    count = len(many) // 4
    found = surest([values], [sure], count / len(many))(0, weights)[0]
    assert found == pytest.approx(values[ordered[:count]].mean())
    assert surest([values], [sure], 1.0)(0, weights)[0] == pytest.approx(values[many].mean())


def test_a_ratio_of_a_figure_to_itself_is_one_and_so_is_its_interval() -> None:
    values = [np.random.default_rng().random(30) + 0.1 for _ in range(2)]
    draws = Draws.of_concepts([np.arange(30)] * 2, seed=0)
    value, bounds = ratio(draws, share(values), share(values))
    assert value == pytest.approx(1)
    assert bounds == pytest.approx((1, 1))
    low, high = interval(draws.drawn(share(values)))
    assert low < draws.value(share(values)) < high


def test_figures_of_no_entries_are_not_numbers_and_raise_nothing() -> None:
    draws = Draws.of_concepts([np.zeros(0)], seed=0)
    assert np.isnan(draws.value(share([np.zeros(0)])))
    assert np.isnan(interval(draws.drawn(surest([np.zeros(0)], [np.zeros(0)], 0.5)))).all()


def test_half_of_the_names_is_the_surer_half() -> None:
    right = [answers([1, 0, 1, 0, 0, 0], [0.9, 0.1, 0.8, 0.7, 0.2, 0.3])]
    table = Table(BOTH, OPEN, {BEST: right}, seed=0)
    rows = {row["figure"]: row for row in table.abstention()}
    assert rows[f"top-1 {KIND}, surest 50%"]["value"] == pytest.approx(2 / 3)
    assert rows[f"top-1 {KIND}, surest half"]["value"] == pytest.approx(2)


def test_labels_of_groups_stand_behind_those_of_the_set() -> None:
    names, groupings = group_labels(("background", "cow", "grass", "dog"), ({"animal": "dog cow"}, {"thing": "*"}))
    assert names == ("background", "cow", "grass", "dog", "animal", "thing")
    assert [grouping.tolist() for grouping in groupings] == [[0, 1, 2, 3], [0, 4, 2, 4], [0, 5, 5, 5]]
    with pytest.raises(InsightError, match="group plant: expected labels of the set, found"):
        group_labels(("cow",), ({"plant": "moss"},))


def test_every_group_is_made_of_labels_of_its_set() -> None:
    lists = {"MSRC-v2": "msrc", "clothing parts": "clothing-parts"}
    assert lists == material.MASKED
    assert set(material.GROUPS) == set(lists)


def by_hand(fires: np.ndarray, classes: np.ndarray, groupings: tuple[np.ndarray, ...], n_labels: int) -> list[int]:
    """Best labels of concepts [photos, patches, m] by the book: IoU over labelled patches, precision a half."""
    found = []
    for concept in range(fires.shape[2]):
        scores = {}
        on = fires[..., concept]
        known = classes >= 0
        for label in range(n_labels):
            inside = np.isin(
                classes, [own for own in range(len(groupings[0])) if any(g[own] == label for g in groupings)]
            )
            meets = (on & inside).sum()
            if meets and meets / (on & known).sum() >= 0.5:
                scores[label] = meets / ((on | inside) & known).sum()
        seen = (on & known).sum() >= 20 and ((on & known).any(1)).sum() >= 3
        found.append(max(scores, key=lambda label: (scores[label], -label)) if scores and seen else -1)
    return found


def test_a_concept_has_the_label_that_it_overlaps_best_be_it_of_a_group() -> None:
    rng = np.random.default_rng()
    classes = rng.integers(-1, 4, (40, GRID))
    one = masked(classes, ("background", "cow", "grass", "dog"), {"animal": "cow dog"})
    fires = rng.random((40, GRID, 40)) < rng.random(40) ** 2
    for concept, members in ((0, [1]), (1, [1, 3]), (2, [0]), (3, [2])):
        fires[..., concept] = np.isin(classes, members) ^ (rng.random(classes.shape) < 0.02)
    codes = SparseCodes.from_dense(torch.from_numpy(fires.reshape(-1, 40)).float())
    found = best_labels(codes, one, np.arange(40))
    assert found.tolist() == by_hand(fires, classes, one.groupings, len(one.labels))
    labelled = label_concepts(codes, one)
    assert {0, 1, 3} <= set(labelled.concepts.tolist())
    assert 2 not in labelled.concepts, "background is no name"
    place = {concept: label for concept, label in zip(labelled.concepts.tolist(), labelled.labels, strict=True)}
    assert (place[0], place[1], place[3]) == ("cow", "animal", "grass")
    assert labelled.on_all.tolist() == found.tolist()
    assert labelled.agreed <= labelled.one_half <= labelled.fire == fires.any((0, 1)).sum()


def test_an_edge_is_kind_of_when_the_childs_label_is_a_kind_of_the_parents() -> None:
    names = ("background", "cow", "grass", "animal")
    labelled = Labelled("set", names, np.array([0, 1]), np.array([3, 2]), np.array([3, 2, 1, 0, -1]), 5, 3, 2)
    one = kinds_by_masks(labelled, WordNet.load())
    child, parent = np.array([2, 2, 3, 1]), np.array([0, 1, 0, 1])
    assert one.right(child, parent).tolist() == [True, False, False, True]
    assert one.children.tolist() == [True, True, True, True, False]
    assert one.parents.tolist() == [True, True, False, False, False]


def test_a_part_stands_inside_the_label_of_its_whole_and_leaves_half_of_it_bare() -> None:
    rng = np.random.default_rng()
    classes = rng.integers(-1, 3, (30, GRID))
    one = masked(classes, ("background", "cow", "dog"), {"animal": "cow dog"})
    fires = rng.random((30, GRID, 60)) < rng.random(60)
    fires[:, :, :30] &= (classes > 0)[..., None]
    codes = SparseCodes.from_dense(torch.from_numpy(fires.reshape(-1, 60)).float())
    label = rng.integers(0, 4, 60)
    labelled = Labelled("set", one.labels, np.arange(60), label, np.zeros(60, int), 60, 60, 60)
    found = parts_by_masks(codes, one, labelled)
    pairs = rng.integers(0, 60, (2, 200))
    members = [[0], [1], [2], [1, 2]]
    expected = []
    for child, parent in pairs.T:
        on, inside = fires[..., child], np.isin(classes, members[label[parent]])
        there = inside & on.any(1)[:, None]
        within = (on & inside).sum() >= 0.75 * (on & (classes >= 0)).sum()
        expected.append(bool(within and (on & inside).sum() < 0.5 * there.sum() and there.any()))
    assert any(expected)
    assert found.right(*pairs).tolist() == expected
    support = (fires & (classes >= 0)[..., None]).sum((0, 1))
    assert found.children.tolist() == (support >= 20).tolist()


def test_edges_of_several_dictionaries_are_pooled_beside_chance() -> None:
    key = (related.OUR_GRAPH, related.KIND_OF, related.KIND_BY_MASKS, BOTH)
    first = Verdicts(4, np.array([1, 1, 2]), np.array([1.0, 0.0, 1.0]), np.array([0.1, 0.3, 0.2]))
    second = Verdicts(2, np.array([5, 6]), np.array([1.0, 1.0]), np.array([0.5, 0.3]))
    rows = {row["figure"]: row for row in edge_rows([{key: first}, {key: second}], seed=0)}
    assert rows["precision"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert rows["chance"]["each"] == pytest.approx([0.2, 0.4])
    assert rows["precision over chance"]["value"] == pytest.approx((2 / 3 + 1) / 2 / 0.3)
    assert rows["precision"]["edges"] == [4, 2]
    assert rows["precision"]["judged"] == [3, 2]


def test_edges_that_one_of_two_data_sets_can_judge_are_right_where_either_says_so() -> None:
    verdict = np.array([[True, False, True], [True, True, False], [True, True, True]])
    everyone, nobody = np.ones(3, bool), np.zeros(3, bool)
    first = Judge(lambda child, parent: verdict[child, parent], everyone, np.array([True, False, False]))
    second = Judge(lambda child, parent: verdict.T[child, parent], np.array([True, False, False]), everyone)
    both = related.any_of([first, second])
    assert both.children.all()
    assert both.parents.all()
    child, parent = (np.array(side) for side in zip(*np.ndindex(3, 3), strict=True))
    expected = (parent == 0) & verdict[child, parent] | (child == 0) & verdict.T[child, parent]
    assert (both.right(child, parent) == expected).all()
    assert not related.any_of([Judge(first.right, nobody, everyone)]).right(child, parent).any()
