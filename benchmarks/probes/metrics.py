"""How answers are counted, photo by photo, so that photos can be drawn anew for an interval: shares and mean IoU.

Every figure is either the mean of one number a photo, or the mean IoU (or accuracy) of the sum of one table a photo.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from insight.backbones import CentreSquare

VOID = 255
DRAWS = 1000


def pixel_classes(mask: Image.Image, transform: CentreSquare, n_classes: int) -> Tensor:
    """[side, side] classes of the pixels of the square that `transform` keeps, `VOID` where the mask says none."""
    box = transform.box(*mask.size)
    square = mask.resize((transform.size, transform.size), Image.Resampling.NEAREST, box=box)
    pixels = torch.from_numpy(np.array(square)).long()
    return torch.where(pixels < n_classes, pixels, VOID)


def patch_classes(pixels: Tensor, grid: tuple[int, int], n_classes: int) -> Tensor:
    """[h*w] classes of patches: the one that most of a patch's labelled pixels have.

    `VOID` where at most half of the pixels are labelled, or where two classes have the most.
    """
    (height, width), (rows, columns) = grid, pixels.shape
    cells = pixels.reshape(height, rows // height, width, columns // width).transpose(1, 2).reshape(height * width, -1)
    counts = torch.stack([(cells == c).sum(1) for c in range(n_classes)], dim=1)
    most = counts.topk(min(2, n_classes), dim=1).values
    tied = most[:, 0] == most[:, -1] if n_classes > 1 else torch.zeros(len(most), dtype=torch.bool)
    known = (2 * counts.sum(1) > cells.shape[1]) & ~tied
    return torch.where(known, counts.argmax(1), VOID)


def confusion(answers: Tensor, truth: Tensor, n_classes: int) -> Tensor:
    """[n, c, c] counts of (truth, answer) of each photo, from [n, ...] classes; what is `VOID` is left out."""
    answers, truth = answers.flatten(1), truth.flatten(1)
    photo = torch.arange(len(truth))[:, None].expand_as(truth)
    cell = (photo * n_classes + truth) * n_classes + answers
    counts = torch.bincount(cell[truth != VOID], minlength=len(truth) * n_classes**2)
    return counts.reshape(len(truth), n_classes, n_classes)


def mean_iou(table: Tensor) -> Tensor:
    """Mean over the classes that occur of intersection over union, of tables [..., c, c] of (truth, answer)."""
    table = table.double()
    right, of_class = table.diagonal(dim1=-2, dim2=-1), table.sum(-1)
    union = table.sum(-2) + of_class - right
    occurs = of_class > 0
    return (right / union.clamp(min=1)).where(occurs, 0).sum(-1) / occurs.sum(-1)


def accuracy(table: Tensor) -> Tensor:
    """Share of what is on the diagonal, of tables [..., c, c]."""
    table = table.double()
    return table.diagonal(dim1=-2, dim2=-1).sum(-1) / table.sum((-2, -1))


def retrieved(photos: Tensor, captions: Tensor, owner: Tensor, cutoffs: tuple[int, ...]) -> dict[str, Tensor]:
    """Whether photos find their captions and captions their photo among the first k, per photo, for each k.

    photos: [n, d] and captions: [m, d], unit vectors; owner: [m] the photo of each caption. "text to image R@k" [n] is
    the share of a photo's captions that rank it among their k best photos, "image to text R@k" [n] is 1 where the best
    of its captions is among the photo's k best. What scores as high as the right one is ranked before it.
    """
    scores = photos @ captions.T
    own = owner == torch.arange(len(photos))[:, None]
    right = scores[owner, torch.arange(len(captions))]
    rank_of_photo = (scores >= right).sum(0) - 1
    best = scores.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
    rank_of_caption = ((scores >= best) & ~own).sum(1)
    each = own.double() / own.sum(1, keepdim=True)
    found = {f"text to image R@{k}": each @ (rank_of_photo < k).double() for k in cutoffs}
    return found | {f"image to text R@{k}": (rank_of_caption < k).double() for k in cutoffs}


def upsampled(scores: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """[h*w, c] scores of patches as [side, side] best classes of pixels, scores drawn out bilinearly."""
    maps = scores.T.reshape(1, -1, *grid)
    return interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)[0].argmax(0)


def interval_of_mean(values: Tensor, seed: int) -> tuple[float, float]:
    """95 % of the mean of one number a photo [n], over photos drawn anew with replacement."""
    return _bounds(lambda times: times @ values.double() / len(values), len(values), seed)


def interval_of_tables(tables: Tensor, figure: Callable[[Tensor], Tensor], seed: int) -> tuple[float, float]:
    """95 % of `figure` of the summed tables [n, c, c], over photos drawn anew with replacement."""
    flat = tables.double().flatten(1)
    return _bounds(lambda times: figure((times @ flat).unflatten(1, tables.shape[1:])), len(tables), seed)


def turned(texts: Tensor, random: torch.Generator) -> Tensor:
    """Texts [m, d] after a random rotation of their space: as far from each other as before, and from no photo's side.

    What a bridge that nobody trained would compare photos with.
    """
    q, r = torch.linalg.qr(torch.randn(texts.shape[1], texts.shape[1], generator=random, dtype=torch.float64))
    return normalize(texts.double() @ (q * r.diagonal().sign()), dim=1).to(texts)


def _bounds(figures: Callable[[Tensor], Tensor], n: int, seed: int) -> tuple[float, float]:
    """figures: from how often each photo was drawn [draws, n] to a figure for each draw."""
    random = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(0, DRAWS, 100):
        drawn = torch.randint(n, (100, n), generator=random)
        times = torch.zeros(100, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())
        found.append(figures(times))
    low, high = torch.cat(found).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
