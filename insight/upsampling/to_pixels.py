"""`upsample`: maps on a backbone's grid in, maps of any size out, by a plain, a guided or a learned method."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from .bilateral import joint_bilateral
from .learned import LEARNED, learned_upsampler

Upsampler: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def upsample(
    maps: Tensor, size: tuple[int, int], *, guide: Tensor | None = None, method: str | Upsampler = "bilinear"
) -> Tensor:
    """Maps [B, C, h, w] (patch features, concept activations, scores) at `size` (H, W): [B, C, H, W].

    Positions are those of the pixels' centres: a patch covers H/h × W/w pixels. H and W may be any, multiples or not.
    `guide` is the photo at that size, [B, 3, H, W] in [0, 1]. Methods:

    - "bilinear": between the four nearest patches; needs no guide.
    - "jbu": joint bilateral (Kopf et al. 2007), edges follow the guide's; see `joint_bilateral`.
    - "anyup", "naf", "loftup_dinov2s", … (`LEARNED` has all): a learned upsampler, where it is installed. The LoftUp
      ones take features of the encoder in their name only.
    - any function of (maps [B, C, h, w], guide [B, 3, H, W]) that returns [B, C, H, W].

    The first two give every pixel a convex combination of patches: constant maps stay constant, nothing overshoots.
    All are differentiable. `InsightError` for shapes that do not fit, a missing guide or an unknown method.
    """
    if maps.ndim != 4 or not maps.is_floating_point() or 0 in maps.shape:
        raise InsightError(f"upsample expects float maps [B, C, h, w], found {maps.dtype} {list(maps.shape)}")
    if len(size) != 2 or min(size) < 1:
        raise InsightError(f"upsample expects a size (H, W) of at least one pixel each, found {tuple(size)}")
    if method == "bilinear":
        return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
    if isinstance(method, str) and method != "jbu" and method not in LEARNED:
        raise InsightError(
            f"no way to upsample is called {method!r}; expected bilinear, jbu, {', '.join(LEARNED)} or a function"
        )
    wanted = (len(maps), 3, *size)
    if guide is None or tuple(guide.shape) != wanted or not guide.is_floating_point():
        found = "none" if guide is None else f"{guide.dtype} {list(guide.shape)}"
        raise InsightError(
            f"upsampling by {method if isinstance(method, str) else 'a function'} needs the photo as a guide, floats"
            f" {list(wanted)} in [0, 1], found {found}"
        )
    if method == "jbu":
        return joint_bilateral(maps, guide)
    found_maps = (learned_upsampler(method) if isinstance(method, str) else method)(maps, guide)
    if found_maps.shape != (*maps.shape[:2], *size):
        raise InsightError(
            f"the upsampler {method} was asked for maps {[*maps.shape[:2], *size]} and gave {list(found_maps.shape)}"
        )
    return found_maps
