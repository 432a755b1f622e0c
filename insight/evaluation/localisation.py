"""Where a map points against where the thing is: overlap, precision, pointing game and energy against a mask.

In: maps and masks of the same shape [..., H, W] (bool, True on what is asked for), and `valid`, where a pixel counts at
all (None: everywhere). Out: float64 numpy arrays [...], NaN where the mask has no valid pixel. Pixels that do not count
have no part in anything, not in the scale of a map either. Maps of pairs come from any explainer; a patch grid is to be
drawn out to the size of the mask before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.errors import InsightError

from .maps import check_finite, min_max

THRESHOLD = 0.5
THRESHOLDS = tuple(step / 20 for step in range(20))


@dataclass(frozen=True, eq=False)
class Localisation:
    """float64 arrays [...] of every pair. High is good; `area` and `centre` say what needs no map."""

    iou: np.ndarray
    matched_iou: np.ndarray
    average_precision: np.ndarray
    pointing: np.ndarray
    energy: np.ndarray
    area: np.ndarray
    centre: np.ndarray


def localise(
    maps: Float[Tensor, "*n H W"],
    masks: Bool[Tensor, "*n H W"],
    valid: Bool[Tensor, "*n H W"] | None = None,
    *,
    threshold: float = THRESHOLD,
) -> Localisation:
    """All measures of this module."""
    area, centre = mask_nulls(masks, valid)
    return Localisation(
        iou=iou_above(maps, masks, valid, threshold=threshold),
        matched_iou=matched_iou(maps, masks, valid),
        average_precision=average_precision(maps, masks, valid),
        pointing=pointing_game(maps, masks, valid),
        energy=energy_in_mask(maps, masks, valid),
        area=area,
        centre=centre,
    )


def iou_above(
    maps: Float[Tensor, "*n H W"],
    masks: Bool[Tensor, "*n H W"],
    valid: Bool[Tensor, "*n H W"] | None = None,
    *,
    threshold: float = THRESHOLD,
) -> np.ndarray:
    """Intersection over union of the mask and the pixels whose rescaled map (smallest to largest value) is above.

    The rule of 0.5 is what M2IB and its successors report on RefCOCO. A constant map is above nowhere.
    """
    maps, masks, valid = _checked(maps, masks, valid)
    said = (min_max(maps, valid) > threshold) & valid
    union = (said | masks).sum((-2, -1))
    return _found(masks, (said & masks).sum((-2, -1)) / union)


def best_threshold(
    maps: Float[Tensor, "*n H W"],
    masks: Bool[Tensor, "*n H W"],
    valid: Bool[Tensor, "*n H W"] | None = None,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> float:
    """The threshold with the best mean `iou_above` over these pairs, of equals the first; give it to other pairs.

    `InsightError` when no pair has a mask.
    """
    ious = np.stack([iou_above(maps, masks, valid, threshold=one).ravel() for one in thresholds])
    if not np.isfinite(ious).any():
        raise InsightError("masks: expected at least one that is not empty to choose a threshold on, found none")
    return float(thresholds[int(np.nanmean(ious, axis=1).argmax())])


def matched_iou(
    maps: Float[Tensor, "*n H W"], masks: Bool[Tensor, "*n H W"], valid: Bool[Tensor, "*n H W"] | None = None
) -> np.ndarray:
    """Intersection over union of the mask, of a pixels, and the a largest values of the map.

    No threshold to choose, no gain from a large or small map. Of values that tie for the last places each pixel counts
    by the same share, so a constant map has the IoU of chance.
    """
    maps, masks, valid = _checked(maps, masks, valid)
    flat, on = maps.masked_fill(~valid, -torch.inf).flatten(-2), masks.flatten(-2)
    area = on.sum(-1, keepdim=True)
    last = flat.sort(dim=-1, descending=True).values.gather(-1, (area - 1).clamp(min=0))
    above, tied = flat > last, flat == last
    free = (area - above.sum(-1, keepdim=True))[..., 0]
    shared = (above & on).sum(-1) + free * (tied & on).sum(-1) / tied.sum(-1).clamp(min=1).double()
    return _found(masks, shared / (2 * area[..., 0] - shared))


def average_precision(
    maps: Float[Tensor, "*n H W"], masks: Bool[Tensor, "*n H W"], valid: Bool[Tensor, "*n H W"] | None = None
) -> np.ndarray:
    """Average precision of pixels: the mean, over those of the mask, of the share of the mask among all pixels with at
    least the same value (scikit-learn's `average_precision_score`). A constant map has the share of the area.
    """
    maps, masks, valid = _checked(maps, masks, valid)
    flat = maps.masked_fill(~valid, -torch.inf).flatten(-2)
    value, order = flat.sort(dim=-1, descending=True)
    on = masks.flatten(-2).gather(-1, order)
    place = torch.arange(flat.shape[-1], device=flat.device).expand_as(order)
    last_of_value = torch.ones_like(on)
    last_of_value[..., :-1] = value[..., :-1] != value[..., 1:]
    end = torch.where(last_of_value, place, place[..., -1:]).flip(-1).cummin(-1).values.flip(-1)
    precision = on.cumsum(-1).gather(-1, end) / (end + 1).double()
    return _found(masks, (precision * on).sum(-1) / on.sum(-1))


def pointing_game(
    maps: Float[Tensor, "*n H W"], masks: Bool[Tensor, "*n H W"], valid: Bool[Tensor, "*n H W"] | None = None
) -> np.ndarray:
    """Pointing game (Zhang et al. 2016), without its tolerance of 15 pixels: 1 where the map's largest value is on the
    mask, else 0; of several largest values the share that is.
    """
    maps, masks, valid = _checked(maps, masks, valid)
    maps = maps.masked_fill(~valid, -torch.inf)
    largest = (maps == maps.amax((-2, -1), keepdim=True)) & valid
    return _found(masks, (largest & masks).sum((-2, -1)) / largest.sum((-2, -1)).double())


def energy_in_mask(
    maps: Float[Tensor, "*n H W"], masks: Bool[Tensor, "*n H W"], valid: Bool[Tensor, "*n H W"] | None = None
) -> np.ndarray:
    """Share of the rescaled map (smallest to largest value) that is on the mask (Wang et al. 2020, Score-CAM).

    Rescaled, so that what a method adds everywhere does not count. A constant map has the share of the area.
    """
    maps, masks, valid = _checked(maps, masks, valid)
    mass = min_max(maps, valid)
    total = mass.sum((-2, -1))
    share = (mass * masks).sum((-2, -1)) / torch.where(total > 0, total, 1)
    return _found(masks, torch.where(total > 0, share, _area(masks, valid)))


def mask_nulls(
    masks: Bool[Tensor, "*n H W"], valid: Bool[Tensor, "*n H W"] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What needs no map. First the mask's share of the area: the IoU of who says "everywhere", and the precision,
    energy and expected pointing of an even map. Second the pointing of the photo's centre: share of its central pixels
    (four where both sides are even; those that count) on the mask, NaN where none of them counts.
    """
    _, masks, valid = _checked(masks.double(), masks, valid)
    height, width = masks.shape[-2:]
    rows, columns = slice((height - 1) // 2, height // 2 + 1), slice((width - 1) // 2, width // 2 + 1)
    central = masks[..., rows, columns].sum((-2, -1)) / valid[..., rows, columns].sum((-2, -1)).double()
    return _found(masks, _area(masks, valid)), _found(masks, central)


def _area(masks: Tensor, valid: Tensor) -> Tensor:
    return masks.sum((-2, -1)) / valid.sum((-2, -1)).double()


def _found(masks: Tensor, values: Tensor) -> np.ndarray:
    """NaN where there is nothing to find."""
    return torch.where(masks.any(-1).any(-1), values.double(), torch.nan).cpu().numpy()


def _checked(maps: Tensor, masks: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, masks where they count, and where pixels count; all on the maps' device."""
    valid = torch.ones_like(masks, dtype=torch.bool) if valid is None else valid
    shapes = [tuple(one.shape) for one in (maps, masks, valid)]
    if len(set(shapes)) > 1 or len(shapes[0]) < 2 or masks.dtype != torch.bool or valid.dtype != torch.bool:
        found = ", ".join(f"{one.dtype} {list(one.shape)}" for one in (maps, masks, valid))
        raise InsightError(f"masks: expected maps, bool masks and bool valid of one shape [..., H, W], found {found}")
    check_finite("maps", maps)
    valid = valid.to(maps.device)
    return maps.detach(), masks.to(maps.device) & valid, valid
