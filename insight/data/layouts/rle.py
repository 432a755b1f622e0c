"""Regions as runs: from COCO's run-length encoding, as numbers or as its text, to the pixels of a region.

Runs go down the columns, the first one outside the region, then by turns inside and outside. The text has a number as
characters from "0" on, 5 bits each and the low ones first, with bit 5 where more follow; bit 4 of the last is the sign;
from the fourth number on each is the difference to the one before the last (the COCO API's `maskApi`).
"""

from __future__ import annotations

import numpy as np

_MOST_CHARACTERS = 7  # of a number: 35 bits, more pixels than an image has


def runs_of(text: str) -> list[int]:
    """Lengths of the runs; ValueError for text that is not such."""
    runs: list[int] = []
    value = place = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or place >= _MOST_CHARACTERS:
            raise ValueError(f"expected run lengths as text, found {text[:40]!a}")
        value |= (bits & 31) << 5 * place
        place += 1
        if not bits & 32:
            if bits & 16:
                value -= 1 << 5 * place
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = place = 0
    if place:
        raise ValueError(f"expected run lengths as text, found one that is cut short ({text[-10:]!a})")
    return runs


def fill_runs(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels of a region, bool [H, W]; ValueError when the runs are not as many pixels as an image has.

    runs: int [r], none negative.
    """
    pixels = height * width
    if not len(runs) or runs.min() < 0 or runs.max() > pixels or runs.sum() != pixels:
        raise ValueError(f"expected runs of together {pixels} pixels, found {runs.tolist()[:6]} ...")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T
