"""What a classifier loses when the photos lose the places their maps say matter, without any training anew.

In: a scorer of classes, photos, a map of each, the true classes. Out: which photos are still right, with shares of them
removed by the map and at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ..attribution import Scorer
from ..attribution.nulls import RandomMap
from .maps import places
from .pairs import BATCH, Pairs, pairs_of

SHARES = (0.1, 0.3, 0.5)


@dataclass(frozen=True, eq=False)
class Removal:
    """Which of n photos are right before and after. A good map's `fall` is well above `random_fall`."""

    shares: np.ndarray
    """float64 [k]: of pixels removed."""
    before: np.ndarray
    """bool [n]"""
    after: np.ndarray
    """bool [n, k]: with the largest values of the map removed."""
    random: np.ndarray
    """bool [n, k]: with as many removed by a random map."""

    def fall(self, weights: np.ndarray | None = None) -> np.ndarray:
        """float64 [draws, k]: (accuracy before - after) / before; NaN where no photo was right before.

        weights: [draws, n], as `interval` has them; without, one draw of every photo once.
        """
        return self._fall(self.after, weights)

    def random_fall(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The same for random removal."""
        return self._fall(self.random, weights)

    def _fall(self, after: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        weights = np.ones((1, len(self.before))) if weights is None else weights
        right = (weights @ self.before)[:, None]
        return np.where(right > 0, (right - weights @ after) / np.where(right > 0, right, 1), np.nan)


def removal(
    scorer: Scorer,
    images: Float[Tensor, "n 3 H W"],
    maps: Float[Tensor, "n H W"],
    truth: Int64[Tensor, " n"],
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    batch: int = BATCH,
) -> Removal:
    """Paints the top share of each photo by its own map with the mean colour, and asks the classifier again.

    ROAR (Hooker et al. 2019) as AdaIB does it, with nothing trained again: it is cheap, and photos with holes are not
    what the classifier knows, so only the difference to random removal speaks. Random maps are noise on the
    backbone's grid (`RandomMap`), so that they take out places of the size of patches. truth: int [n], of the scorer's
    classes; maps: of the true class, or of the answer, as one likes. Of equal values the first row by row goes first,
    of equal scores the first class is the answer. `InsightError` when shapes, classes or shares do not fit.
    """
    if not len(shares) or not all(0 < share <= 1 for share in shares):
        raise InsightError(f"shares: expected some above 0, up to 1, found {list(shares)}")
    pairs = pairs_of(scorer, images, maps, truth)
    with torch.no_grad():
        before = torch.cat([scorer(some).argmax(1) for some in images.split(batch)]) == pairs.text
    noise = RandomMap(seed).maps(replace(scorer, texts=("",)), images)  # one map a photo, not one a class
    noise = F.interpolate(noise, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    after, by_chance = (_right_after(pairs, one, shares, batch) for one in (pairs.maps, noise))
    return Removal(np.asarray(shares, dtype=np.float64), before.cpu().numpy(), after, by_chance)


@torch.no_grad()
def _right_after(pairs: Pairs, maps: Tensor, shares: Sequence[float], batch: int) -> np.ndarray:
    """bool [n, k]"""
    place, total = places(maps)
    right = []
    for some in pairs.image.split(batch):
        gone = [(place[some] < round(share * total))[:, None] for share in shares]
        left = [torch.where(one, pairs.mean_colour, pairs.images[some]) for one in gone]
        right.append(torch.stack([pairs.scorer(one).argmax(1) == pairs.text[some] for one in left], dim=1))
    return torch.cat(right).cpu().numpy()
