"""Maps brought to one scale. In: maps of any method. Out: the same between 0 and 1."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-8
"""Of the range: constant maps become 0."""


def standardised(maps: Float[Tensor, "*any h w"]) -> Float[Tensor, "*any h w"]:
    """Each map less its smallest value, over its range + 1e-8: from 0 to 1. Differentiable, extremes included."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + EPSILON)
