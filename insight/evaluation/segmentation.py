"""Segmentation: tables of what is and what was answered, an image each, and the figures of their sum.

Every figure is of the sum of one table an image, so that images can be drawn anew for an interval.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sae.errors import InsightError

from .bootstrap import interval


def confusion(answers: Tensor, truth: Tensor, n_classes: int) -> Tensor:
    """int64 [n, c, c + 1] counts of (truth, answer) of each image, from classes [n, ...]; the last column is no class.

    truth: integer, -1 for void, which is left out; answers: integer, -1 for background or none, which is wrong wherever
    there is a class. Images of different sizes: one at a time, and `torch.cat`. `InsightError` for other classes.
    """
    if answers.shape != truth.shape:
        raise InsightError(
            f"answers: expected the shape of the truth, {list(truth.shape)}, found {list(answers.shape)}"
        )
    answers, truth = answers.flatten(1).long(), truth.flatten(1).long()
    for name, classes in (("answers", answers), ("truth", truth)):
        if classes.numel() and not -1 <= int(classes.min()) <= int(classes.max()) < n_classes:
            found = f"{int(classes.min())} to {int(classes.max())}"
            raise InsightError(f"{name}: expected classes from -1 to {n_classes - 1}, found {found}")
    width = n_classes + 1
    image = torch.arange(len(truth))[:, None].expand_as(truth)
    cell = (image * n_classes + truth) * width + torch.where(answers < 0, n_classes, answers)
    counts = torch.bincount(cell[truth >= 0], minlength=len(truth) * n_classes * width)
    return counts.reshape(len(truth), n_classes, width)


def iou_of_classes(table: Tensor) -> Tensor:
    """float64 [..., c] intersection over union of each class, of tables [..., c, c or c + 1]; NaN if none."""
    table = table.double()
    right, of_class = table.diagonal(dim1=-2, dim2=-1), table.sum(-1)
    union = table.sum(-2)[..., : table.shape[-2]] + of_class - right
    return torch.where(of_class > 0, right / union.clamp(min=1), torch.nan)


def mean_iou(table: Tensor) -> Tensor:
    """Mean over the classes that occur in truth of intersection over union, of tables [..., c, c or c + 1]."""
    return iou_of_classes(table).nanmean(-1)


def accuracy(table: Tensor) -> Tensor:
    """Share of what is on the diagonal, of tables [..., c, c or c + 1]."""
    table = table.double()
    return table.diagonal(dim1=-2, dim2=-1).sum(-1) / table.sum((-2, -1))


def interval_of_tables(tables: Tensor, figure: Callable[[Tensor], Tensor], seed: int = 0) -> tuple[float, float]:
    """95 % of `figure` of the summed tables [n, c, c or c + 1], over images drawn anew with replacement."""
    flat = tables.double().flatten(1)
    shape = tables.shape[1:]
    return interval(lambda w: figure((torch.from_numpy(w) @ flat).unflatten(1, shape)).numpy(), len(tables), seed=seed)
