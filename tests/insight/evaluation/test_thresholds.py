"""Best-threshold IoU: the choice against a search over everything, and its score on other images."""

import math

import numpy as np
import pytest
import torch

from insight.evaluation import choose_cutoffs, score_cutoffs
from insight.evaluation.thresholds import Cutoffs
from sae import InsightError, SparseCodes


def test_five_patches_by_hand() -> None:
    """Label 0 in the first two patches, 1 in the third, 2 nowhere."""
    classes = np.array([0, 0, 1, -1, -1])
    codes = SparseCodes.from_dense(torch.tensor([[4.0, 0], [2, 1], [3, 2], [1, 0], [0, 0]]))
    got = choose_cutoffs(codes, classes, 3)
    # label 0, concept 0: at 4, 1/2; at 2, 2/3. Label 1, concept 1: at 2, 1; label 2 has no patch
    assert got.concept.tolist() == [0, 1, -1]
    assert got.threshold.tolist() == [2, 2, math.inf]
    assert got.iou[:2].tolist() == [2 / 3, 1]
    assert math.isnan(got.iou[2])
    other = SparseCodes.from_dense(torch.tensor([[2.0, 1], [1.9, 2], [0, 3], [5, 0]]))
    scores = score_cutoffs(other, np.array([0, 0, 1, -1]), 2, got)
    assert scores.common[:, :2].tolist() == [[1, 0], [0, 1]]
    assert scores.either[:, :2].tolist() == [[2, 1], [1, 1]]
    assert scores.iou_of_labels()[:2].tolist() == [1 / 3, 1 / 2]
    assert scores.mean_iou() == (1 / 3 + 1 / 2) / 2
    assert scores.iou_of_labels(np.array([2.0, 0]))[:1].tolist() == [1 / 2]


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    n, m, labels = 120, 9, 4
    dense = random.integers(1, 6, (n, m)) / 4 * (random.random((n, m)) < 0.4)  # many ties
    classes = random.integers(-1, labels, n)
    codes = SparseCodes.from_dense(torch.from_numpy(dense))
    got = choose_cutoffs(codes, classes, labels)
    for label in range(labels):
        truth = classes == label
        found = {
            (c, t): (truth & (dense[:, c] >= t)).sum() / (truth | (dense[:, c] >= t)).sum()
            for c in range(m)
            for t in np.unique(dense[:, c][dense[:, c] > 0])
        }
        assert got.iou[label] == pytest.approx(max(found.values()), abs=1e-12)
        assert found[got.concept[label], got.threshold[label]] == pytest.approx(got.iou[label], abs=1e-12)
    scores = score_cutoffs(codes, classes, 10, got)
    assert scores.iou_of_labels() == pytest.approx(got.iou)  # on the patches of the choice itself


def test_choosing_flatters() -> None:
    random = np.random.default_rng(5)
    dense = torch.from_numpy(random.random((400, 60)) * (random.random((400, 60)) < 0.3))
    classes = random.integers(-1, 5, 400)
    codes = SparseCodes.from_dense(dense)
    got = choose_cutoffs(codes[:200], classes[:200], 5)
    assert score_cutoffs(codes[200:], classes[200:], 50, got).mean_iou() < got.iou.mean()


def test_silence_and_what_does_not_fit() -> None:
    silent = SparseCodes.from_dense(torch.zeros(4, 3))
    got = choose_cutoffs(silent, np.array([0, 0, -1, 1]), 2)
    assert got.concept.tolist() == [-1, -1]
    assert got.iou.tolist() == [0, 0]
    assert score_cutoffs(silent, np.array([0, 0, -1, 1]), 2, got).mean_iou() == 0
    assert math.isnan(score_cutoffs(silent, np.full(4, -1), 2, got).mean_iou())
    with pytest.raises(InsightError, match="one for each of 4 patches"):
        choose_cutoffs(silent, np.zeros(3, dtype=int), 2)
    with pytest.raises(InsightError, match="expected -1 to 1, found 0 to 2"):
        choose_cutoffs(silent, np.array([0, 0, 2, 1]), 2)
    with pytest.raises(InsightError, match="whole images of 3"):
        score_cutoffs(silent, np.zeros(4, dtype=int), 3, got)
    with pytest.raises(InsightError, match="concepts below"):
        score_cutoffs(silent, np.zeros(4, dtype=int), 2, Cutoffs(np.array([3]), np.zeros(1), np.zeros(1)))
