"""Drop and Increase: what a score loses, or gains, when a photo is dimmed to its own map.

In: a scorer, photos, maps. Out: the scores before and after of every pair, and the measures that are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..attribution import Scorer
from .maps import min_max
from .pairs import BATCH, pairs_of


@dataclass(frozen=True, eq=False)
class DropIncrease:
    """Scores o of photos as they are and s of photos times their maps. `drop` is low, `increase` high for good maps."""

    before: np.ndarray
    """float64 [B, T] or [n]: o."""
    after: np.ndarray
    """float64, the same shape: s."""

    @property
    def drop(self) -> np.ndarray:
        """100 * max(0, o - s): hundredths of the score's own unit, NOT a share of o.

        Its mean is "Drop" of M2IB (Wang et al. 2023) and its successors, where scores are cosines. Models whose scores
        have another unit (logits, log-probabilities) do not compare by it.
        """
        return 100 * np.maximum(0, self.before - self.after)

    @property
    def increase(self) -> np.ndarray:
        """100 where s > o, else 0; its mean is "Increase in confidence", in % of the pairs."""
        return 100.0 * (self.after > self.before)

    @property
    def relative_drop(self) -> np.ndarray:
        """max(0, o - s) / o in %: "Average Drop %" of Grad-CAM++ (Chattopadhyay et al. 2018, section 4.1).

        Made for probabilities: NaN where o is not above 0.
        """
        return np.where(self.before > 0, self.drop / np.where(self.before > 0, self.before, 1), np.nan)


def drop_increase(
    scorer: Scorer,
    images: Float[Tensor, "B 3 H W"],
    maps: Float[Tensor, "B T H W"] | Float[Tensor, "B H W"],
    asked: Int64[Tensor, " B"] | None = None,
    *,
    batch: int = BATCH,
) -> DropIncrease:
    """Of every text, or of the one each photo is `asked` about (int [B]) when maps are [B, H, W].

    Maps are rescaled from their smallest to their largest value to [0, 1]; each pixel keeps that share of its colour,
    the rest is the backbone's mean colour (0 once colours are normalised). Nothing is kept by a constant map. Photos
    are in [0, 1]. `InsightError` as `pairs_of`.
    """
    pairs = pairs_of(scorer, images, maps, asked)
    kept = min_max(pairs.maps).to(images.dtype)

    def dimmed(pair: Tensor, _: Tensor) -> Tensor:
        return torch.lerp(pairs.mean_colour, images[pairs.image[pair]], kept[pair, None])

    return DropIncrease(pairs.shaped(pairs.before(batch)), pairs.shaped(pairs.ask(dimmed, 1, batch)[:, 0]))
