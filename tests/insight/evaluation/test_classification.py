"""Accuracy, area under the curve and calibration, against scikit-learn and by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from insight.evaluation import classification
from insight.evaluation.classification import accuracy, calibration_error, macro_auc
from sae import InsightError


def random_answers(seed: int, n: int = 90, c: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(c), random.integers(0, c, n - c)])
    scores = np.round(random.normal(size=(n, c)) + 1.5 * np.eye(c)[truth], 1)  # ties
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True), truth


def test_figures_equal_scikit_learns_weighted_or_not() -> None:
    probabilities, truth = random_answers(0)
    weights = np.random.default_rng(1).integers(1, 4, (3, len(truth))).astype(float)
    of_accuracy, of_auc = accuracy(probabilities, truth)(weights), macro_auc(probabilities, truth)(weights)
    for draw, weight in enumerate(weights):
        again = np.repeat(np.arange(len(truth)), weight.astype(int))
        p, t = probabilities[again], truth[again]
        assert of_accuracy[draw] == pytest.approx(accuracy_score(t, p.argmax(1)))
        assert of_auc[draw] == pytest.approx(roc_auc_score(t, p, multi_class="ovr"))


def test_two_classes_have_the_area_of_either_and_ties_count_half() -> None:
    second = np.array([0.1, 0.4, 0.4, 0.8])
    probabilities, truth = np.column_stack([1 - second, second]), np.array([0, 1, 0, 1])
    assert macro_auc(probabilities, truth)(np.ones((1, 4)))[0] == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    figures = classification(probabilities, truth)
    assert figures["macro AUC"].value == pytest.approx(roc_auc_score(truth, second))
    assert figures["accuracy"].value == 3 / 4


def test_calibration_by_hand() -> None:
    """Two images at 0.9, one of them wrong, and two at 0.7, both right: |0.5 - 0.9| and |1 - 0.7|, half each."""
    sure = np.array([0.9, 0.9, 0.7, 0.7])
    probabilities = np.column_stack([sure, 1 - sure])
    truth = np.array([0, 1, 0, 0])
    assert calibration_error(probabilities, truth)(np.ones((1, 4)))[0] == pytest.approx((0.4 + 0.3) / 2)
    assert calibration_error(np.eye(2)[truth], truth)(np.ones((1, 4)))[0] == 0


def test_calibration_error_equals_a_loop_over_15_bins() -> None:
    probabilities, truth = random_answers(5, n=400)
    sure = probabilities.max(1)
    truth[::2] = np.where(sure > 0.75, probabilities.argmin(1), probabilities.argmax(1))[::2]  # too sure, or not enough
    right = probabilities.argmax(1) == truth
    expected = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert calibration_error(probabilities, truth)(np.ones((1, 400)))[0] == pytest.approx(expected)


def test_draws_keep_the_classes_so_that_intervals_hold_the_figures() -> None:
    probabilities, truth = random_answers(2, n=60)
    truth[truth == 3] = 2
    truth[0] = 3  # a single image: every draw has it, and every class has an area
    figures = classification(probabilities, truth, draws=300)
    for name in ("accuracy", "macro AUC"):
        assert figures[name].low < figures[name].value < figures[name].high
    assert figures == classification(probabilities, truth, draws=300)


def test_classes_without_an_image_and_a_single_class() -> None:
    probabilities, truth = random_answers(3)
    kept = truth != 3
    p, t = probabilities[kept], truth[kept]
    expected = np.mean([roc_auc_score(t == c, p[:, c]) for c in range(3)])
    assert macro_auc(p, t)(np.ones((1, len(t))))[0] == pytest.approx(expected)
    alone = classification(probabilities[truth == 1], truth[truth == 1])
    assert math.isnan(alone["macro AUC"].value)
    assert math.isnan(alone["macro AUC"].low)


def test_what_does_not_fit_is_said() -> None:
    probabilities, truth = random_answers(4)
    for p, t, message in (
        (probabilities, truth[1:], r"expected \[n, C\]"),
        (probabilities, np.where(truth == 0, -1, truth), "leave out unlabelled"),
        (probabilities * 2, truth, "sum to 1"),
        (probabilities * np.nan, truth, "sum to 1"),
    ):
        with pytest.raises(InsightError, match=message):
            classification(p, t)
