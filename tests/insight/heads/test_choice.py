"""How the penalty is chosen: who is held out, which step is taken, how many concepts a class may have."""

import numpy as np
import pytest

from insight.heads import ConceptClassifier
from insight.heads.choice import held_out_parts, most_accurate
from insight.heads.defaults import READABLE


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


def test_every_image_is_held_out_once_and_every_class_learnt_from(rng) -> None:
    classes = rng.permutation(np.repeat([0, 1, 2, 3], [40, 11, 2, 1]))
    parts = [*held_out_parts(classes, 0.2, np.random.RandomState(rng.integers(2**31)))]
    assert len(parts) == 5
    times = np.zeros(len(classes), dtype=int)
    for learn, held in parts:
        assert sorted([*learn, *held]) == [*range(len(classes))]
        assert set(classes[learn]) == {0, 1, 2, 3}
        assert (classes[held] == 0).sum() == 8
        assert 2 <= (classes[held] == 1).sum() <= 3
        times[held] += 1
    assert (times == (classes != 3)).all()
    assert 2 in classes[parts[0][1]]


def test_classes_of_one_image_leave_none_to_hold_out() -> None:
    assert [*held_out_parts(np.arange(5), 0.2, np.random.RandomState(0))] == []


def test_the_most_accurate_step_is_chosen_among_those_that_people_can_read() -> None:
    accuracy = np.array([0.50, 0.78, 0.84, 0.84, 0.85, 0.86])
    needed = np.array([0.0, 3, 9, READABLE, READABLE + 1, 90])
    assert most_accurate(accuracy, needed, np.arange(6)) == 3
    assert most_accurate(np.full(6, 0.5), needed, np.arange(6)) == 0  # of equals the stronger penalty
    assert most_accurate(accuracy, needed, np.array([0, 1])) == 1
    assert most_accurate(accuracy, needed, np.array([4, 5])) == 4  # none can be read: the one that needs the fewest
    assert most_accurate(accuracy, needed / 10, np.arange(6)) == 5


def test_a_step_that_is_best_by_chance_is_passed_over() -> None:
    rising = 0.9 + 0.05 * (1 - np.exp(-np.arange(40) / 8.0))
    lucky = rising.copy()
    lucky[12] += 0.012  # above all others, as one image in eighty can make it
    assert lucky.argmax() == 12
    assert most_accurate(lucky, np.ones(40), np.arange(40)) > 30


def two_of_six(rng: np.random.Generator, images: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Rows [n, 6] of which columns 0 and 1 alone tell three classes apart, with a wide gap."""
    y = rng.permutation(np.arange(images) % 3)
    rows = rng.random((images, 6))
    rows[:, 0], rows[:, 1] = (y == 0) + 0.1 * rows[:, 0], (y == 1) + 0.1 * rows[:, 1]
    return rows, y


def test_the_path_tells_accuracy_by_the_number_of_concepts(rng) -> None:
    rows, y = two_of_six(rng)
    head = ConceptClassifier(pooling="max")
    path = head.fit_path(rows, y)
    assert not hasattr(head, "coef_")
    assert (np.diff(path.alpha) < 0).all()
    assert path.concepts_per_class[0] == 0
    assert path.accuracy[path.chosen] == 1
    assert path.images == 240
    assert 0 < path.concepts_to_reach[path.chosen] <= 2
    assert path.rows()[path.chosen]["accuracy"] == 1
    fitted = head.fit(rows, y)
    assert fitted.path_.rows() == path.rows()
    assert fitted.alpha_ == path.alpha[path.chosen]
    assert not fitted.coef_[:, 2:].any()


@pytest.mark.parametrize("most", [1, 2, 4])
def test_no_class_has_more_concepts_than_it_may(most, rng) -> None:
    rows, y = rng.random((90, 20)), np.arange(90) % 3
    for alpha in ("auto", 1e-4):
        head = ConceptClassifier(alpha=alpha, max_concepts=most).fit(rows, y)
        concepts = (head.coef_ != 0).reshape(3, 2, 10).any(1)
        assert concepts.sum(1).max() <= most
        if alpha != "auto":
            assert concepts.any()


def test_of_many_images_one_part_is_held_out(rng) -> None:
    rows, y = two_of_six(rng, 3000)
    assert ConceptClassifier(pooling="max", tol=1e-2).fit_path(rows, y).images == 600
