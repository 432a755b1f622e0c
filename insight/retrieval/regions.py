"""From a score on each patch to regions: patches that hang together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from .hits import Region


def regions_in(
    scores: Float[np.ndarray, "h w"], active: Bool[np.ndarray, "h w"], side: int
) -> list[tuple[float, Region]]:
    """The 4-connected regions of the active patches, by their first patch, each with its largest score.

    side: pixels on a side of the square that the grid lies on.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(active)
    down, across = side / scores.shape[0], side / scores.shape[1]
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[rows, columns] == number
        peak = np.where(inside, scores[rows, columns], -np.inf)
        row, column = np.unravel_index(int(peak.argmax()), peak.shape)
        box = (columns.start * across, rows.start * down, columns.stop * across, rows.stop * down)
        place = (int(row) + rows.start, int(column) + columns.start)
        found.append((float(peak.max()), Region(*place, int(inside.sum()), box, side)))
    return found


def near_peak(scores: Float[np.ndarray, "h w"], there: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Patches of an image that are closer to its best score than to its mean. there: which patches were kept."""
    peak = scores[there].max()
    return there & (scores >= min(peak, (peak + scores[there].mean()) / 2))
