"""Deletion and insertion of concepts: of a linear head by hand and in algebra, and of wrong orders, which must fail."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import expit, softmax

from insight.evaluation import faithfulness
from sae import InsightError


class Head:
    """A linear head on features [n, F]."""

    def __init__(self, coef: np.ndarray, intercept: np.ndarray) -> None:
        self.coef, self.intercept = coef, intercept

    def __call__(self, x: csr_array) -> np.ndarray:
        logits = x @ self.coef.T + self.intercept
        return logits if len(self.coef) > 1 else logits[:, 0]

    def contributions(self, x: csr_array, m: int) -> csr_array:
        """Of concepts to the decided class."""
        logits = np.asarray(self(x))
        rows = self.coef[logits.argmax(1)] if logits.ndim > 1 else np.where(logits > 0, 1, -1)[:, None] * self.coef
        return csr_array((x.toarray() * rows).reshape(x.shape[0], -1, m).sum(1))


def random_head(seed: int, classes: int, n: int = 60, m: int = 40, per: int = 1) -> tuple[Head, csr_array, csr_array]:
    random = np.random.default_rng(seed)
    active = np.tile(random.random((n, m)) < 0.5, per)
    x = csr_array(random.random((n, m * per)) * active)
    head = Head(random.normal(size=(classes, m * per)), random.normal(size=classes))
    return head, x, head.contributions(x, m)


def test_one_image_by_hand() -> None:
    """Contributions 3, 1, -2 to the class decided for, whose logit is 2; the other's is 0."""
    head = Head(np.array([[3.0, 1, -2, 9], [0, 0, 0, 0]]), np.zeros(2))
    x = csr_array(np.array([[1.0, 1, 1, 0]]))
    got = faithfulness(head, x, csr_array(np.array([[3.0, 1, -2, 0]])), steps=(1, 2, 3, 4))
    assert got.targets.tolist() == [0]
    assert got.deletion.steps.tolist() == [0, 1, 2, 3, 4]
    assert got.deletion.logit[0].tolist() == [2, -1, -2, 0, 0]  # the fourth is not active
    assert got.insertion.logit[0].tolist() == [0, 3, 4, 2, 2]
    assert got.deletion.probability[0] == pytest.approx(expit([2, -1, -2, 0, 0]))
    mean = expit(np.array([2, -1, -2, 0, 0]))
    assert got.deletion.area() == pytest.approx((mean[0] / 2 + mean[1:4].sum() + mean[4] / 2) / 4)
    assert got.drop(2)[0].tolist() == [4]


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("per", [1, 2])
def test_a_linear_head_loses_what_the_removed_concepts_contributed(classes: int, per: int) -> None:
    head, x, contributions = random_head(classes, classes, per=per)
    got = faithfulness(head, x, contributions, steps=(2, 7, 99), draws=2)
    dense, m = x.toarray(), contributions.shape[1]
    for image, said in enumerate(contributions.toarray()):
        active = dense[image].reshape(per, m).any(0)
        order = np.flatnonzero(active)[np.argsort(-said[active])]
        for step, count in enumerate(got.deletion.steps):
            for curve, gone in ((got.deletion, order[:count]), (got.insertion, order[count:])):
                left = dense[image].copy().reshape(per, m)
                left[:, gone] = 0
                logits = head.coef @ left.ravel() + head.intercept
                if classes == 1:
                    logits = np.array([0, logits[0]])
                target = got.targets[image]
                own = logits[target] - (logits[1 - target] if classes < 3 else 0)
                assert curve.logit[image, step] == pytest.approx(own)
                assert curve.probability[image, step] == pytest.approx(softmax(logits)[target])
    if classes != 2:  # of two rows the other class loses, too
        largest = np.sort(contributions.toarray(), axis=1)[:, -2:]
        assert got.drop(2)[0] == pytest.approx(largest.sum(1))


def test_the_right_order_is_better_than_chance_and_wrong_ones_are_not() -> None:
    head, x, contributions = random_head(9, 4, n=200)
    right = faithfulness(head, x, contributions, steps=(5, 10, 20))
    assert right.ratio(5) > 3
    assert right.deletion.area() < right.random_deletion.area()
    assert right.insertion.area() > right.random_insertion.area()
    wrong = faithfulness(head, x, -contributions, steps=(5, 10, 20))
    assert wrong.drop(5)[0].mean() < 0 < wrong.drop(5)[1].mean()
    assert wrong.ratio(5) < 0
    assert wrong.deletion.area() > wrong.random_deletion.area()
    assert wrong.insertion.area() < wrong.random_insertion.area()
    shuffled = np.random.default_rng(0).permuted(contributions.toarray(), axis=1)
    blind = faithfulness(head, x, csr_array(shuffled), steps=(5, 10, 20))
    assert blind.ratio(5) < 1.5


def test_random_concepts_are_active_ones_drawn_without_repeats() -> None:
    """Every concept weighs 1, so that any five that are active cost 5, and no more than there are."""
    random = np.random.default_rng(1)
    x = csr_array((random.random((50, 30)) < 0.3).astype(float))
    head = Head(np.stack([np.ones(30), np.zeros(30), np.zeros(30)]), np.array([1.0, 0, 0]))
    got = faithfulness(head, x, head.contributions(x, 30), steps=(5,), draws=4)
    expected = np.minimum(5, x.toarray().sum(1))
    assert got.drop(5)[1] == pytest.approx(expected)
    assert got.ratio(5) == pytest.approx(1)
    assert got.ratio(5, np.arange(50.0)) == pytest.approx(1)


def test_nothing_that_falls_at_random_makes_no_ratio() -> None:
    head = Head(np.zeros((2, 3)), np.array([1.0, 0]))
    x = csr_array(np.eye(3))
    assert np.isnan(faithfulness(head, x, csr_array((3, 3)), steps=(1,)).ratio(1))
    assert faithfulness(head, csr_array((2, 3)), csr_array((2, 3)), steps=(1,)).drop(1)[0].tolist() == [0, 0]


def test_what_does_not_fit_is_said() -> None:
    head, x, contributions = random_head(0, 3)
    with pytest.raises(InsightError, match="as many rows"):
        faithfulness(head, x, contributions[:5])
    with pytest.raises(InsightError, match="as many rows"):
        faithfulness(head, x, contributions[:, :7])
    with pytest.raises(InsightError, match="finite numbers"):
        faithfulness(head, x, contributions * np.nan)
    with pytest.raises(InsightError, match="finite logits"):
        faithfulness(lambda x: np.full((x.shape[0], 3), np.nan), x, contributions)
    with pytest.raises(InsightError, match="steps from 0 up"):
        faithfulness(head, x, contributions, steps=(-1, 3))
    with pytest.raises(InsightError, match="expected one of the steps"):
        faithfulness(head, x, contributions).drop(4)
