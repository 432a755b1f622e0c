"""Concepts removed or set: the prediction is that of rows edited by hand."""

import numpy as np
import pytest

from insight import InsightError
from insight.heads import ConceptClassifier

from .made import NAMES, random_model, random_photos


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


def drawn(rng: np.random.Generator, features: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rows = rng.random((60, features)) * (rng.random((60, features)) < 0.6)
    return rows, np.array(NAMES)[rng.permutation(np.arange(60) % 3)]


@pytest.mark.parametrize("pooling", ["max", "max+mean"])
def test_removing_and_setting_concepts_is_editing_their_columns(pooling, rng) -> None:
    rows, y = drawn(rng)
    head = ConceptClassifier(pooling=pooling, alpha=1e-3, l1_ratio=0.0).fit(rows, y)
    step = 12 if pooling == "max" else 6
    by_hand = rows.copy()
    by_hand[:, [1, 4] if step == 12 else [1, 7, 4, 10]] = 0
    by_hand[:, [2] if step == 12 else [2, 8]] = 0.7
    np.testing.assert_allclose(
        head.decision_with(rows, remove=[1, 4], set={2: 0.7}), head.decision_function(by_hand), atol=1e-9
    )
    np.testing.assert_allclose(
        head.predict_proba_with(rows, remove=[1, 4], set={2: 0.7}), head.predict_proba(by_hand), atol=1e-9
    )
    assert list(head.predict_with(rows, remove=[1, 4], set={2: 0.7})) == list(head.predict(by_hand))
    np.testing.assert_allclose(head.decision_with(rows), head.decision_function(rows), atol=1e-9)


def test_maximum_and_mean_of_a_concept_can_be_set_apart(rng) -> None:
    rows, y = drawn(rng)
    head = ConceptClassifier(alpha=1e-3, l1_ratio=0.0).fit(rows, y)
    by_hand = rows.copy()
    by_hand[:, 3], by_hand[:, 9] = 2.0, 0.5
    np.testing.assert_allclose(head.decision_with(rows, set={3: (2.0, 0.5)}), head.decision_function(by_hand))


def test_removal_takes_exactly_the_contribution_with_a_text_too(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 4)
    head = ConceptClassifier.zero_shot(model, NAMES)
    before = head.decision_function(photos)
    after = head.decision_with(photos, remove=[5])
    for number, target in enumerate(NAMES):
        taken = head.contributions(photos, target)[0][:, [5]].toarray()[:, 0]
        np.testing.assert_allclose(before[:, number] - after[:, number], taken, atol=1e-4)


def test_a_debiased_head_pays_no_heed_to_a_concept(rng) -> None:
    rows, y = drawn(rng)
    head = ConceptClassifier(alpha=1e-3, l1_ratio=0.0).fit(rows, y)
    fair = head.debias([0, 5])
    np.testing.assert_allclose(fair.decision_function(rows), head.decision_with(rows, remove=[0, 5]), atol=1e-9)
    assert head.coef_[:, [0, 5]].all()
    other = rows.copy()
    other[:, [0, 5, 6, 11]] = rng.random((60, 4))
    np.testing.assert_allclose(fair.decision_function(other), fair.decision_function(rows), atol=1e-9)


def test_a_debiased_head_with_a_text_forgets_the_concept_there_too(rng) -> None:
    model, photos = random_model(rng), random_photos(rng, 4)
    fair = ConceptClassifier.zero_shot(model, NAMES).debias(["word 3"])
    contributions, _ = fair.contributions(photos, "cat")
    assert not contributions[:, [3]].toarray().any()
    assert contributions[:, [4]].toarray().any() or not fair.text_.weights[4].any()


@pytest.mark.parametrize("classes", [2, 3])
def test_intercepts_fitted_anew_are_the_best_for_what_is_left(classes, rng) -> None:
    rows, _ = drawn(rng)
    y = np.array(NAMES)[np.arange(60) % classes]
    fair = ConceptClassifier(alpha=1e-3, l1_ratio=0.0).fit(rows, y).debias([0], rows, y)
    expected = [(y == name).mean() for name in fair.classes_]  # where the gradient of the intercepts is 0
    np.testing.assert_allclose(fair.predict_proba(rows).mean(0), expected, atol=1e-4)


def test_a_concept_stands_for_those_merged_into_it(rng) -> None:
    model, photos = random_model(rng, {2: {"merged_into": 7}}), random_photos(rng, 4)
    head = ConceptClassifier.zero_shot(model, NAMES)
    assert head.concept_numbers([7]).tolist() == [7, 2]
    assert head.concept_numbers(["word 7"]).tolist() == [7, 2]
    both = sum(head.contributions(photos, "cat")[0][:, [concept]].toarray()[:, 0] for concept in (7, 2))
    taken = head.decision_function(photos) - head.decision_with(photos, remove=[7])
    np.testing.assert_allclose(taken[:, 0], both, atol=1e-4)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"remove": [6]}, "expected concepts of 0 to 5, found 6"),
        ({"remove": [-1]}, "expected concepts of 0 to 5, found -1"),
        ({"remove": ["beak"]}, "expected the number or title of a concept, found 'beak'"),
        ({"remove": 3}, "expected several, found 3; give a list"),
        ({"set": {1: -0.5}}, "expected for concept 1 0 or more"),
        ({"set": {1: (1.0, 2.0, 3.0)}}, "or 2 such numbers"),
        ({"set": {1: float("nan")}}, "found nan"),
    ],
)
def test_concepts_and_values_that_are_none_are_said(asked, said, rng) -> None:
    rows, y = drawn(rng)
    head = ConceptClassifier(alpha=0.01).fit(rows, y)
    with pytest.raises(InsightError, match=said):
        head.predict_with(rows, **asked)
