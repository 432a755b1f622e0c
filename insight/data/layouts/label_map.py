"""Masks of a file of numbers: each number is looked up, as every layout has its own for void and for its classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..decode import BadImage, opened
from ..masks import ONE_NUMBER_A_PIXEL
from ..place import FILE, found_at

UNKNOWN = -2
"""In a table: a number that the layout gives no meaning to."""


def lookup(classes: dict[int, int]) -> np.ndarray:
    """int16 [256]: the class of each number, -1 for void; all numbers that are not given are `UNKNOWN`."""
    table = np.full(256, UNKNOWN, dtype=np.int16)
    for number, of_class in classes.items():
        table[number] = of_class
    return table


def mask_of_numbers(path: Path, table: np.ndarray) -> Callable[[], np.ndarray] | None:
    """How to load the mask in a file, None where there is no such file."""
    return partial(decode_numbers, path, table) if found_at(path) == FILE else None


def decode_numbers(path: Path, table: np.ndarray) -> np.ndarray:
    """The class of each pixel [H, W] int16, by `lookup`'s table; `BadImage` for numbers that have no meaning."""
    with opened(path, str(path)) as image:
        if image.mode not in ONE_NUMBER_A_PIXEL:
            raise BadImage(path, f"expected a mask with one number a pixel, found an image of mode {image.mode}")
        numbers = np.asarray(image).astype(np.int64)
    outside = (numbers < 0) | (numbers >= len(table))
    mask = np.where(outside, UNKNOWN, table[np.where(outside, 0, numbers)]).astype(np.int16)
    if (unknown := mask == UNKNOWN).any():
        known = np.flatnonzero(table != UNKNOWN)
        found = int(numbers[unknown][0])
        raise BadImage(path, f"expected numbers of classes from {known.min()} to {known.max()}, found {found}")
    return mask
