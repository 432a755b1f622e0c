"""Masks as run lengths, the way COCO's annotations hold them uncompressed.

{"size": [H, W], "counts": [...]}: pixels are counted column by column, top to bottom, and the counts alternate between
pixels outside and inside the mask, beginning with those outside (0 where the first pixel is inside).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    """The run lengths of a mask."""
    flat = mask.ravel(order="F").astype(np.int8)
    turns = np.flatnonzero(np.diff(flat, prepend=0)) if flat.size else np.zeros(0, np.int64)
    counts = np.diff(turns, prepend=0, append=flat.size)
    return {"size": [int(side) for side in mask.shape], "counts": counts.tolist()}
