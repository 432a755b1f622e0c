"""Pairs of a photo and a text with a map each, and what a model says of changed photos of them.

In: a scorer, photos, and maps of them. Out: `Pairs`, and scores of as many changed photos a pair as wanted, asked for
several pairs and steps in one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sae.errors import InsightError

from ..attribution import Scorer
from .maps import check_finite

BATCH = 64  # photos of a forward pass


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs, image-major: all texts of the first photo, then those of the second."""

    scorer: Scorer
    images: Float[Tensor, "B 3 H W"]
    maps: Float[Tensor, "n H W"]
    image: Int64[Tensor, " n"]
    """The photo of each pair."""
    text: Int64[Tensor, " n"]
    """Its text, a column of the scorer."""
    shape: tuple[int, ...]
    """Of values of the pairs: [B, T], or [n]."""

    @property
    def mean_colour(self) -> Float[Tensor, "3 1 1"]:
        """What stands for "removed": the mean colour of the photos the encoder was trained on, 0 once normalised."""
        return self.scorer.backbone.colour_mean.to(self.images)

    @torch.no_grad()
    def before(self, batch: int = BATCH) -> Float[Tensor, " n"]:
        """float64: scores of the photos as they are, each photo asked once."""
        scores = torch.cat([self.scorer(some) for some in self.images.split(batch)])
        return self._checked(scores[self.image, self.text])

    @torch.no_grad()
    def ask(
        self,
        change: Callable[[Int64[Tensor, " m"], Int64[Tensor, " m"]], Float[Tensor, "m 3 H W"]],
        steps: int,
        batch: int = BATCH,
    ) -> Float[Tensor, "n steps"]:
        """float64: scores of `steps` changed photos of each pair.

        change: from numbers of m pairs and of m steps to their photos in [0, 1]; m is at most `batch`.
        """
        found = []
        for row in torch.arange(len(self.maps) * steps, device=self.images.device).split(batch):
            pair = row // steps
            scores = self.scorer(change(pair, row % steps))
            found.append(scores.gather(1, self.text[pair, None])[:, 0])
        return self._checked(torch.cat(found)).reshape(-1, steps)

    def shaped(self, values: Float[Tensor, " n *k"]) -> np.ndarray:
        """Values of the pairs as numpy, float64 [B, T, *k] or [n, *k]."""
        return values.cpu().numpy().reshape(*self.shape, *values.shape[1:])

    @staticmethod
    def _checked(scores: Tensor) -> Tensor:
        check_finite("scores of photos", scores)
        return scores.double()


def pairs_of(
    scorer: Scorer,
    images: Float[Tensor, "B 3 H W"],
    maps: Float[Tensor, "B T H W"] | Float[Tensor, "B H W"],
    asked: Int64[Tensor, " B"] | None = None,
) -> Pairs:
    """Maps [B, T, H, W] of every text of the scorer, or [B, H, W] of the one that `asked` names for each photo.

    `InsightError` when shapes do not fit, `asked` is missing or beyond the texts, or a map is not finite.
    """
    n_texts, size = len(scorer.texts), tuple(images.shape[-2:])
    wanted = (len(images), n_texts, *size) if maps.ndim == 4 else (len(images), *size)
    if images.ndim != 4 or not len(images) or tuple(maps.shape) != wanted:
        expected = "photos [B, 3, H, W] and maps [B, T, H, W], or [B, H, W] with `asked`"
        found = f"{list(images.shape)} and {list(maps.shape)}"
        raise InsightError(f"maps: expected {expected}, of {n_texts} texts; found {found}")
    check_finite("maps", maps)
    every = torch.arange(len(images), device=images.device)
    maps = maps.detach().to(images.device)
    if maps.ndim == 4:
        if asked is not None:
            raise InsightError("asked: expected with maps [B, H, W] only, found maps of every text; leave it out")
        texts = torch.arange(n_texts, device=images.device)
        image, text = every.repeat_interleave(n_texts), texts.repeat(len(images))
        return Pairs(scorer, images, maps.flatten(0, 1), image, text, (len(images), n_texts))
    if asked is None or asked.shape != every.shape or not 0 <= int(asked.min()) <= int(asked.max()) < n_texts:
        found = "none" if asked is None else f"{list(asked.shape)}: {asked.flatten().tolist()[:5]}"
        raise InsightError(f"asked: expected for each of {len(images)} photos a text 0 to {n_texts - 1}, found {found}")
    return Pairs(scorer, images, maps, every, asked.to(images.device).long(), (len(images),))
