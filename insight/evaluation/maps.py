"""Maps of photos as numbers to compare: rescaled to [0, 1], and as an order of places.

In: maps [..., H, W], larger is more. Out: tensors of the same leading shape, on the maps' device.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError


def min_max(maps: Float[Tensor, "*n H W"], valid: Bool[Tensor, "*n H W"] | None = None) -> Float[Tensor, "*n H W"]:
    """Each map by itself, in float64, from its smallest to its largest value; a constant map is 0 everywhere.

    valid: where a pixel counts; the others are 0.
    """
    maps = maps.double()
    if valid is None:
        low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    else:
        low = maps.masked_fill(~valid, torch.inf).amin((-2, -1), keepdim=True)
        high = maps.masked_fill(~valid, -torch.inf).amax((-2, -1), keepdim=True)
    span = high - low
    # where no pixel counts the span is -inf
    scaled = torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1), torch.zeros_like(maps))
    return scaled if valid is None else scaled.masked_fill(~valid, 0)


def places(maps: Float[Tensor, "n H W"], cell: int = 1) -> tuple[Int64[Tensor, "n H W"], int]:
    """The place of each pixel's cell in the order of its map, 0 for the largest, and how many cells there are.

    Cells are squares of `cell` x `cell` pixels, ordered by their mean; of equals, the first row by row from the top
    left. `InsightError` unless H and W are multiples of `cell`.
    """
    n, height, width = maps.shape
    if cell < 1 or height % cell or width % cell:
        raise InsightError(f"cell: expected a side that divides {height} and {width} pixels, found {cell}")
    means = F.avg_pool2d(maps[:, None], cell).flatten(1) if cell > 1 else maps.flatten(1)
    order = means.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).reshape(n, height // cell, width // cell)
    return rank.repeat_interleave(cell, 1).repeat_interleave(cell, 2), order.shape[1]


def check_finite(name: str, values: Tensor) -> None:
    """`InsightError` unless every value is a finite number."""
    if not bool(torch.isfinite(values).all()):
        raise InsightError(f"{name}: expected finite numbers, found others (NaN or infinite); look at what made them")
