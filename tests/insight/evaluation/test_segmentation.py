"""Tables of segmentation and their figures, against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from insight.evaluation import accuracy, confusion, interval_of_tables, iou_of_classes, mean_iou
from sae import InsightError


def test_figures_equal_scikit_learns_with_void_and_background() -> None:
    random = np.random.default_rng(3)
    truth, answers = random.integers(-1, 4, (5, 6, 7)), random.integers(-1, 5, (5, 6, 7))  # class 4 only answered
    tables = confusion(torch.from_numpy(answers), torch.from_numpy(truth), 5)
    assert tables.shape == (5, 5, 6)
    for image in range(5):
        for t in range(5):
            for a in range(-1, 5):
                both = (truth[image] == t) & (answers[image] == a)
                assert tables[image, t, a] == both.sum()  # column -1, the last: no class
    kept = truth >= 0
    t, a = truth[kept], answers[kept]
    total = tables.sum(0)
    assert float(mean_iou(total)) == pytest.approx(jaccard_score(t, a, average="macro", labels=range(4)))
    assert iou_of_classes(total)[:4].tolist() == pytest.approx(jaccard_score(t, a, average=None, labels=range(4)))
    assert math.isnan(iou_of_classes(total)[4])
    assert float(accuracy(total)) == pytest.approx(accuracy_score(t, a))
    low, high = interval_of_tables(tables, mean_iou)
    assert low < float(mean_iou(total)) < high


def test_four_pixels_by_hand() -> None:
    table = confusion(torch.tensor([[0, 1, -1, 1]]), torch.tensor([[0, 0, 1, -1]]), 2)
    assert table.tolist() == [[[1, 1, 0], [0, 0, 1]]]  # background where class 1 is: wrong; void: left out
    assert float(mean_iou(table[0])) == (1 / 2 + 0) / 2
    assert float(accuracy(table[0])) == pytest.approx(1 / 3)


def test_other_classes_and_shapes_are_said() -> None:
    zeros = torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(InsightError, match="truth: expected classes from -1 to 1, found 0 to 2"):
        confusion(zeros, torch.tensor([[0, 1, 2]]), 2)
    with pytest.raises(InsightError, match="answers: expected classes"):
        confusion(zeros - 2, zeros, 2)
    with pytest.raises(InsightError, match="the shape of the truth"):
        confusion(zeros, zeros[:, :2], 2)
