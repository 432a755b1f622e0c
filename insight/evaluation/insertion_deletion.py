"""Deletion and insertion of pixels in the order of a map, and the fidelity that DEAL makes of insertion.

In: a scorer, photos, maps. Out: scores with more and more pixels taken out, or put in, of every pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ..attribution import Scorer
from .maps import places
from .pairs import BATCH, Pairs, pairs_of

STEPS = 20
FIDELITY_STEPS = 5  # 20 %, 40 %, ... 100 %


@dataclass(frozen=True, eq=False)
class PixelCurve:
    """Scores of every pair with a growing share of its pixels taken out, or put in."""

    shares: np.ndarray
    """float64 [k], from 0 to 1: of pixels taken out or put in."""
    scores: np.ndarray
    """float64 [B, T, k] or [n, k]"""

    def area(self) -> np.ndarray:
        """float64 [B, T] or [n]: area under the score over the share (trapezoids), in the score's unit."""
        return ((self.scores[..., 1:] + self.scores[..., :-1]) / 2 * np.diff(self.shares)).sum(-1)


def deletion(
    scorer: Scorer,
    images: Float[Tensor, "B 3 H W"],
    maps: Float[Tensor, "B T H W"] | Float[Tensor, "B H W"],
    asked: Int64[Tensor, " B"] | None = None,
    *,
    steps: int = STEPS,
    cell: int = 1,
    batch: int = BATCH,
) -> PixelCurve:
    """From the photo to the mean colour, the largest values of the map going first; a low area is good.

    RISE (Petsiuk et al. 2018), section 4.2, which scores by a probability: give a scorer of probabilities for its unit.
    cell: side of the squares that go as one (1: pixels), ordered by their mean; of equals, the first row by row goes
    first. `InsightError` as `pairs_of`, or for `steps` or `cell` that do not fit.
    """
    pairs = pairs_of(scorer, images, maps, asked)
    return _curve(pairs, images, pairs.mean_colour.expand_as(images), steps, cell, batch)


def insertion(
    scorer: Scorer,
    images: Float[Tensor, "B 3 H W"],
    maps: Float[Tensor, "B T H W"] | Float[Tensor, "B H W"],
    asked: Int64[Tensor, " B"] | None = None,
    *,
    steps: int = STEPS,
    cell: int = 1,
    batch: int = BATCH,
    blur: Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B 3 H W"]] | None = None,
) -> PixelCurve:
    """From a blurred photo to the photo, the largest values of the map coming first; a high area is good.

    As `deletion`. blur: `gaussian_blur` unless given.
    """
    pairs = pairs_of(scorer, images, maps, asked)
    return _curve(pairs, (blur or gaussian_blur)(images), images, steps, cell, batch)


def fidelity(
    scorer: Scorer,
    images: Float[Tensor, "B 3 H W"],
    maps: Float[Tensor, "B T H W"] | Float[Tensor, "B H W"],
    asked: Int64[Tensor, " B"] | None = None,
    *,
    batch: int = BATCH,
) -> np.ndarray:
    """float64 [B, T] or [n]: how near insertion comes to the photo's score, from 0 to 1; high is good.

    Mean over the top 20, 40, ... 100 % of pixels p of min(1, |s(p) - s(blurred)| / |s(photo) - s(blurred)|); NaN where
    the blur leaves the score as it was. This is DEAL's "localizability" (Li et al. 2024) as it is described. Its
    published figures do not compare: the released code pairs photos with maps of other photos, and inserts the red
    channel alone. A score that moves far the wrong way counts as near.
    """
    pairs = pairs_of(scorer, images, maps, asked)
    scores = _curve(pairs, half_size_blur(images), images, FIDELITY_STEPS, 1, batch).scores
    moved = np.abs(scores - scores[..., :1])
    whole = moved[..., -1:]
    near = np.minimum(1, moved[..., 1:] / np.where(whole > 0, whole, 1)).mean(-1)
    return np.where(whole[..., 0] > 0, near, np.nan)


def gaussian_blur(images: Float[Tensor, "B 3 H W"], sigma: float = 5.0, taps: int = 11) -> Float[Tensor, "B 3 H W"]:
    """Gaussian of `sigma` pixels cut off at `taps` of them, as RISE's for photos of 224; edge pixels are repeated."""
    at = torch.arange(taps, device=images.device, dtype=images.dtype) - (taps - 1) / 2
    kernel = torch.softmax(-(at**2) / (2 * sigma**2), dim=0).expand(images.shape[1], 1, 1, taps)
    before, after = (taps - 1) // 2, taps // 2
    padded = F.pad(images, (before, after, before, after), mode="replicate")
    rows = F.conv2d(padded, kernel, groups=images.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=images.shape[1])


def half_size_blur(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Bilinearly to half the size (rounded down, at least 1) and back, as DEAL blurs."""
    height, width = images.shape[-2:]
    small = F.interpolate(images, (max(1, height // 2), max(1, width // 2)), mode="bilinear", align_corners=False)
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def _curve(pairs: Pairs, start: Tensor, end: Tensor, steps: int, cell: int, batch: int) -> PixelCurve:
    """From photos `start` to photos `end` [B, 3, H, W]: cells of `end` come in by their places."""
    place, total = places(pairs.maps, cell)
    if not 1 <= steps <= total:
        raise InsightError(f"steps: expected 1 to {total}, as many as there are cells, found {steps}")
    counts = torch.linspace(0, total, steps + 1, dtype=torch.float64).round().long().to(place.device)

    def mixed(pair: Tensor, step: Tensor) -> Tensor:
        come = place[pair] < counts[step, None, None]
        image = pairs.image[pair]
        return torch.where(come[:, None], end[image], start[image])

    scores = pairs.ask(mixed, steps + 1, batch)
    return PixelCurve(counts.cpu().numpy() / total, pairs.shaped(scores))
