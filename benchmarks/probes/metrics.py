"""How answers are counted, photo by photo, so that photos can be drawn anew for an interval: shares and mean IoU.

Every figure is either the mean of one number a photo, or the mean IoU (or accuracy) of the sum of one table a photo.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from insight.backbones import CentreSquare
from insight.evaluation import accuracy, interval, interval_of_tables, mean_iou, segmentation

__all__ = [
    "VOID",
    "accuracy",
    "confusion",
    "interval_of_mean",
    "interval_of_tables",
    "mean_iou",
    "patch_classes",
    "pixel_classes",
    "retrieved",
    "turned",
    "upsampled",
]
VOID = 255


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
    return segmentation.confusion(answers, torch.where(truth == VOID, -1, truth), n_classes)[..., :n_classes]


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
    numbers = values.double().numpy()
    return interval(lambda times: times @ numbers / len(numbers), len(numbers), seed=seed)


def turned(texts: Tensor, random: torch.Generator) -> Tensor:
    """Texts [m, d] after a random rotation of their space: as far from each other as before, and from no photo's side.

    What a bridge that nobody trained would compare photos with.
    """
    q, r = torch.linalg.qr(torch.randn(texts.shape[1], texts.shape[1], generator=random, dtype=torch.float64))
    return normalize(texts.double() @ (q * r.diagonal().sign()), dim=1).to(texts)
