"""Regions as polygons: from corners to the pixels whose centres lie within.

Pillow's own filling draws the outline as well, up to half a pixel too much on every side; a thin part of an object is
twice as wide then. Here a pixel belongs to a polygon if its centre does.
"""

from __future__ import annotations

import numpy as np


def fill_polygon(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels of a polygon, bool [H, W], by the even-odd rule.

    corners: float [p, 2], x and y in pixels, finite; (0, 0) is the upper left corner of the first pixel, whose centre
    is (0.5, 0.5). What lies outside the image is left out. A centre on an edge belongs to what is right of or below it.
    """
    x, y = corners.astype(np.float64).T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    # An edge crosses the rows whose centres lie from its upper end on and above its lower one.
    first = np.clip(np.ceil(np.minimum(y, y_next) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y, y_next) - 0.5), 0, height).astype(np.int64)
    crossed = last - first
    filled = np.zeros((height, width), dtype=bool)
    if not crossed.any():
        return filled
    edge = np.repeat(np.arange(len(x)), crossed)
    row = np.arange(crossed.sum()) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    share = (row + 0.5 - y[edge]) / (y_next[edge] - y[edge])
    at = x[edge] + share * (x_next[edge] - x[edge])
    column = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)  # the first whose centre is not left of the edge
    top, bottom = int(row.min()), int(row.max()) + 1
    turns = np.bincount((row - top) * (width + 1) + column, minlength=(bottom - top) * (width + 1))
    filled[top:bottom] = np.cumsum(turns.reshape(bottom - top, width + 1)[:, :width], axis=1) % 2 == 1
    return filled
