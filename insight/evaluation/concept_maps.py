"""Whether the maps of a class's concepts are apart from one another, and together make up the map of the class.

In: maps of K concepts of each photo, on any grid, with a mask where photos have fewer. Out: float64 numpy arrays [B].
The measures only: the losses that fine-tune towards them are of `insight.methods`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.errors import InsightError

from .maps import check_finite, min_max


def separation(concept_maps: Float[Tensor, "B K h w"], mask: Bool[Tensor, "B K"] | None = None) -> np.ndarray:
    """Sum over pairs of concepts and over places of the product of their rescaled maps; 0 when none meet.

    L_sep of DEAL (Li et al. 2024), not averaged over photos. Grows with the number of places and of concepts.
    """
    scaled, _ = _checked(concept_maps, mask)
    together = scaled.sum(1) ** 2 - (scaled**2).sum(1)  # twice the sum over pairs
    return (together.sum((-2, -1)) / 2).cpu().numpy()


def consistency(
    concept_maps: Float[Tensor, "B K h w"],
    class_maps: Float[Tensor, "B h w"],
    mask: Bool[Tensor, "B K"] | None = None,
    *,
    of: Literal["sum", "mean"] = "sum",
) -> np.ndarray:
    """Sum over places of the squared difference between what the concepts' rescaled maps make and the class's.

    of: "sum" is L_con of DEAL, which sets a sum from 0 to K against a map from 0 to 1; "mean" sets their mean.
    """
    scaled, mask = _checked(concept_maps, mask)
    if class_maps.shape != concept_maps[:, 0].shape:
        expected, found = list(concept_maps[:, 0].shape), list(class_maps.shape)
        raise InsightError(f"class maps: expected {expected} as the concepts', found {found}")
    check_finite("class maps", class_maps)
    made = scaled.sum(1)
    if of == "mean":
        made = made / mask.sum(1).clamp(min=1)[:, None, None]
    elif of != "sum":
        raise InsightError(f'consistency: expected of="sum" or of="mean", found {of!r}')
    return ((made - min_max(class_maps.to(made.device))) ** 2).sum((-2, -1)).cpu().numpy()


def disentanglability(separation: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-10 * (0.2 - separation / 100))), DEAL's figure, from 0 to 1.

    Made for 7 x 7 places and 5 concepts, where a separation of 20 makes one half. Not to be compared across grids or
    numbers of concepts: four times the places are about four times the separation. `overlap` can be.
    """
    return 1 / (1 + np.exp(-10 * (0.2 - np.asarray(separation) / 100)))


def overlap(concept_maps: Float[Tensor, "B K h w"], mask: Bool[Tensor, "B K"] | None = None) -> np.ndarray:
    """Mean over pairs of concepts of the soft IoU of their rescaled maps: sum of the smaller over sum of the larger.

    From 0 (apart) to 1 (the same map), on any grid and for any number of concepts. A constant map says nothing of
    where: its pairs are left out, and a photo without any other pair has NaN.
    """
    scaled, mask = _checked(concept_maps, mask)
    says = mask & (scaled.amax((-2, -1)) > 0)
    total, count = scaled.new_zeros(len(scaled)), scaled.new_zeros(len(scaled))
    for i in range(scaled.shape[1]):  # one concept against those after it: K maps at a time, not K * K
        one, others = scaled[:, i, None], scaled[:, i + 1 :]
        pair = says[:, i, None] & says[:, i + 1 :]
        larger = torch.maximum(one, others).sum((-2, -1))
        iou = torch.minimum(one, others).sum((-2, -1)) / torch.where(pair, larger, 1)
        total += (iou * pair).sum(1)
        count += pair.sum(1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.nan).cpu().numpy()


def _checked(concept_maps: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rescaled maps [B, K, h, w], 0 where there is no concept, and the mask [B, K]."""
    if concept_maps.ndim != 4:
        raise InsightError(f"concept maps: expected [B, K, h, w], found {list(concept_maps.shape)}")
    shape = concept_maps.shape[:2]
    mask = torch.ones(shape, dtype=torch.bool) if mask is None else mask
    if mask.shape != shape or mask.dtype != torch.bool:
        raise InsightError(f"mask: expected bool {list(shape)}, found {mask.dtype} {list(mask.shape)}")
    mask = mask.to(concept_maps.device)
    concept_maps = concept_maps.detach().masked_fill(~mask[..., None, None], 0)
    check_finite("concept maps", concept_maps)
    return min_max(concept_maps), mask
