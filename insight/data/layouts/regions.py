"""Annotated regions of an image, held small, and the mask that they make together.

In: what COCO's JSON calls a segmentation: polygons, or runs as numbers or as text. Out: the class of each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..decode import MAX_PIXELS, BadImage
from .polygon import fill_polygon
from .rle import fill_runs, runs_of


class Runs(NamedTuple):
    """A region as runs: as numbers (int64) or as COCO's text, of an image of this size."""

    runs: np.ndarray | str
    height: int
    width: int


class Region(NamedTuple):
    """An object or a part of one. category: its id in the file; shape: polygons, x and y by turns [2p], or runs."""

    category: int
    shape: tuple[np.ndarray, ...] | Runs


def shape_of(segmentation: Any) -> tuple[np.ndarray, ...] | Runs:
    """A segmentation of a JSON file, packed; ValueError says what is wrong with it.

    A polygon of fewer than three corners covers nothing and is left out.
    """
    if isinstance(segmentation, list):
        flat = [np.array(polygon, dtype=np.float32) for polygon in segmentation]
        if any(polygon.ndim != 1 or len(polygon) % 2 or not np.isfinite(polygon).all() for polygon in flat):
            raise ValueError("expected polygons of x and y by turns, found other numbers")
        return tuple(polygon for polygon in flat if len(polygon) >= 6)
    if not isinstance(segmentation, dict):
        raise ValueError("expected polygons, or runs with counts and size")
    runs, size = segmentation.get("counts"), segmentation.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ValueError("expected runs with a size of height and width")
    if not isinstance(runs, (str, list)):
        raise ValueError("expected runs with counts")
    return Runs(runs if isinstance(runs, str) else np.array(runs, dtype=np.int64), size[0], size[1])


def paint(
    regions: Sequence[Region], classes: dict[int, int], size: tuple[int, int], ground: int, place: str
) -> np.ndarray:
    """The class of each pixel [H, W] int16; where regions overlap, the one of fewest pixels lies on top.

    classes: the class of each category; size: (height, width) of the image; ground: what no region covers is.
    `BadImage`, which calls the image `place`, when a region is of an image of another size.
    """
    height, width = size
    if height * width > MAX_PIXELS:
        raise BadImage(place, f"its mask is too large: {width} × {height} pixels, expected at most {MAX_PIXELS}")
    mask = np.full(size, ground, dtype=np.int16)
    on_top = np.full(size, np.iinfo(np.int64).max)  # pixels of the region that a pixel belongs to
    for region in regions:
        filled = _filled(region.shape, height, width, place)
        pixels = int(filled.sum())
        filled &= on_top > pixels
        mask[filled] = classes[region.category]
        on_top[filled] = pixels
    return mask


def _filled(shape: tuple[np.ndarray, ...] | Runs, height: int, width: int, place: str) -> np.ndarray:
    """The pixels of a region, bool [H, W]; those of any of its polygons."""
    if isinstance(shape, Runs):
        if (shape.height, shape.width) != (height, width):
            found = f"{shape.width} × {shape.height}"
            raise BadImage(place, f"a region of it is of {found} pixels, expected {width} × {height}")
        try:
            runs = shape.runs if isinstance(shape.runs, np.ndarray) else np.array(runs_of(shape.runs), dtype=np.int64)
            return fill_runs(runs, height, width)
        except (ValueError, OverflowError) as error:
            raise BadImage(place, f"a region of it is damaged ({error})") from None
    filled = np.zeros((height, width), dtype=bool)
    for polygon in shape:
        filled |= fill_polygon(polygon.reshape(-1, 2), height, width)
    return filled
