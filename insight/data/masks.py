"""Masks: from a file with the class of every pixel to the class of every patch.

A mask file is an image of one channel whose pixels are numbers of classes, 255 meaning void; a class map has the class
that most pixels of each patch have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sae.errors import InsightError

from .decode import BadImage, opened

VOID = 255  # the pixel of a mask file that belongs to no class
ONE_NUMBER_A_PIXEL = ("1", "L", "P", "I;16", "I;16B", "I")


def read_classes(path: Path | str) -> tuple[str, ...]:
    """Names of the classes, a line each: the first is class 0. `InsightError` when the file does not hold names."""
    path = Path(path)
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InsightError(f"{path}: expected names of classes, a line each; cannot be read ({reason})") from None
    if not names or "" in names or len(set(names)) < len(names) or len(names) > VOID:
        found = "an empty line" if "" in names else f"{len(names)} lines, {len(set(names))} of them different"
        raise InsightError(f"{path}: expected 1 to {VOID} different names of classes, a line each; found {found}")
    return names


def decode_mask(file: Path | bytes, place: str, n_classes: int) -> np.ndarray:
    """The class of each pixel [H, W] int16, -1 where the file has 255; `BadImage` if it is no mask of these classes.

    file: a path or the bytes of a file, `place` is what a `BadImage` calls it. A palette's colours do not matter.
    """
    with opened(file, place) as image:
        return mask_of(image, place, n_classes)


def mask_of(image: Image.Image, place: str, n_classes: int) -> np.ndarray:
    """The same of an image that is open already."""
    if image.mode not in ONE_NUMBER_A_PIXEL:
        raise BadImage(place, f"expected a mask with one number a pixel, found an image of mode {image.mode}")
    mask = np.asarray(image).astype(np.int32)
    mask[mask == VOID] = -1
    if mask.max() >= n_classes or mask.min() < -1:
        wrong = int(mask.max() if mask.max() >= n_classes else mask.min())
        raise BadImage(place, f"expected classes 0 to {n_classes - 1} and {VOID} for void, found {wrong}")
    return mask.astype(np.int16)


def class_map(mask: np.ndarray, box: Sequence[float], grid: tuple[int, int]) -> np.ndarray:
    """The class of each patch [h*w] int16: the one that most pixels of its cell have, -1 for void.

    mask: integer class of each pixel [H, W], -1 for void; box: (left, top, right, bottom) in pixels of the mask, the
    part that the grid of h × w cells is laid over, as `CentreSquare.box` gives it. A pixel belongs to the cell that its
    centre falls in, on a border to the right or lower one. Void pixels do not vote; a cell of which more than half is
    void is void. Of classes with as many votes the smaller number wins. A cell without a pixel's centre takes the pixel
    nearest to its own. `InsightError` when the box leaves the mask or a class does not fit.
    """
    (height, width), (left, top, right, bottom), (h, w) = mask.shape, box, grid
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise InsightError(
            f"mask of {width} × {height} pixels: expected a box within it, found {tuple(box)}; is it of another image?"
        )
    row, column = _cells(height, top, bottom, h), _cells(width, left, right, w)
    inside = np.ix_(row >= 0, column >= 0)
    pixels = mask[inside].astype(np.int64)
    cell = (row[row >= 0, None] * w + column[None, column >= 0]).ravel()
    if mask.size and not (mask.min() >= -1 and mask.max() <= np.iinfo(np.int16).max):
        raise InsightError(f"mask: expected classes from -1 to 32767, found {int(mask.min())} to {int(mask.max())}")
    present = np.flatnonzero(np.bincount(pixels.ravel() + 1, minlength=1))  # classes + 1, so that void is 0
    number = np.zeros(present.max(initial=0) + 1, dtype=np.int64)
    number[present] = np.arange(len(present))
    votes = np.bincount(cell * len(present) + number[pixels.ravel() + 1], minlength=h * w * len(present))
    votes = votes.reshape(h * w, len(present))
    total = votes.sum(1)
    classes: np.ndarray = np.full(h * w, -1, dtype=np.int16)
    named = present > 0
    if named.any():
        best = present[named][votes[:, named].argmax(1)] - 1
        void = total - votes[:, named].sum(1)
        classes = np.where(2 * void > total, -1, best).astype(np.int16)
    y, x = _nearest(height, top, bottom, h), _nearest(width, left, right, w)
    return np.where(total == 0, mask[np.ix_(y, x)].ravel(), classes).astype(np.int16)


def _cells(pixels: int, start: float, stop: float, cells: int) -> np.ndarray:
    """Along one side: the cell that each pixel's centre falls in, -1 outside the box."""
    cell = np.floor((np.arange(pixels) + 0.5 - start) * cells / (stop - start)).astype(np.int64)
    return np.where((cell >= 0) & (cell < cells), cell, -1)


def _nearest(pixels: int, start: float, stop: float, cells: int) -> np.ndarray:
    """Along one side: the pixel nearest to each cell's centre."""
    centres = start + (np.arange(cells) + 0.5) * (stop - start) / cells
    return np.clip(np.floor(centres), 0, pixels - 1).astype(np.int64)
