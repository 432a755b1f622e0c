"""DEAL's three terms about where concepts stand, as pure functions of their maps.

In: concept maps [B, K, h, w], each rescaled to [0, 1] (`insight.attribution.scaling.standardised`); a mask [B, K] that
says which concepts are real (False: padding, which never counts); for one term the class's map [B, h, w]. Out: a
number, the mean over the photos. Source: Li et al., "DEAL: Disentangle and Localize Concept-level Explanations for
VLMs" (ECCV 2024), and its published code, which computes the same numbers on detached maps and so never trains on them.
"""

from __future__ import annotations

from typing import Literal, get_args

from jaxtyping import Bool, Float
from torch import Tensor

Aggregate = Literal["max", "mean", "sum"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)


def separation(maps: Float[Tensor, "B K h w"], mask: Bool[Tensor, "B K"]) -> Float[Tensor, ""]:
    """Overlap of the concepts: over pairs i < j and places p, the sum of h_i(p) h_j(p). 0 for disjoint maps."""
    real = _real(maps, mask)
    pairs = (real.sum(1).square() - real.square().sum(1)) / 2
    return pairs.sum((1, 2)).mean()


def consistency(
    maps: Float[Tensor, "B K h w"],
    class_map: Float[Tensor, "B h w"],
    mask: Bool[Tensor, "B K"],
    aggregate: Aggregate = "max",
) -> Float[Tensor, ""]:
    """Distance of the concepts together from their class: over places p, the sum of (agg_k h_k(p) - h_y(p))^2.

    aggregate: "max", the union of the concepts; it stays in [0, 1] as the class's map does, and disjoint concepts that
    cover the class reach 0. "sum" (published) goes up to K, so that concepts must fade rather than part; of the "mean",
    disjoint concepts reach 1 / K at most. Photos without a real concept count 0.
    """
    real = _real(maps, mask)
    if aggregate == "max":
        together = real.amax(1)
    else:
        together = real.sum(1)
        if aggregate == "mean":
            together = together / mask.sum(1).clamp_min(1)[:, None, None]
    return ((together - class_map).square().sum((1, 2)) * mask.any(1)).mean()


def sparsity(maps: Float[Tensor, "B K h w"], mask: Bool[Tensor, "B K"]) -> Float[Tensor, ""]:
    """Sum of the concepts' maps. The published code adds it up over the batch, so that it grows with the batch's size;
    here it is the mean. Not in the paper's objective."""
    return _real(maps, mask).sum((1, 2, 3)).mean()


def _real(maps: Tensor, mask: Tensor) -> Tensor:
    """Maps with those of padding at 0, whatever they held (maps are at least 0, so `amax` ignores them too)."""
    return maps.masked_fill(~mask[:, :, None, None], 0)
