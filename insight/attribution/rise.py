"""RISE: cover random parts of a photo and see what the score needs. It asks for scores alone, of any model.

In: a scorer and photos. Out: a value a pixel. Source: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation
of Black-box Models" (BMVC 2018), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from .at_rest import at_rest
from .explainer import Explainer
from .scorer import Scorer

LEAST = 1e-6
"""Of a pixel's mean mask: one that no mask showed has the map 0."""


@dataclass(frozen=True)
class RISE(Explainer):
    """map(p) = E[s(photo under mask) · mask(p)] / E[mask(p)] over random masks, the mean score where p is shown.

    masks: how many; the same for every photo and text. cells: of a mask, along each side, each on with probability
    `keep`; drawn out bilinearly and shifted at random by less than a cell, as published. Covered pixels have the
    backbone's mean colour, 0 once colours are normalised. seed: of the masks, drawn on the CPU. batch: masked photos in
    one forward pass, which bounds the memory; it changes the masks' order of summation and nothing else.
    """

    masks: int = 1000
    cells: int = 7
    keep: float = 0.5
    seed: int = 0
    batch: int = 64

    name = "rise"

    def __post_init__(self) -> None:
        for name in ("masks", "cells", "batch"):
            if getattr(self, name) < 1:
                raise InsightError(f"rise: {name} must be at least 1, found {getattr(self, name)}")
        if not 0 < self.keep <= 1:
            raise InsightError(f"rise: keep must be above 0 and at most 1, found {self.keep}")

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T H W"]:
        """A photo is never in one pass with another, so its map does not depend on its companions."""
        backbone, size = scorer.backbone, (images.shape[-2], images.shape[-1])
        sums = images.new_zeros(len(images), len(scorer.texts), *size)
        shown = images.new_zeros(size)
        with at_rest(backbone), torch.no_grad():
            for masks in self._drawn(size):
                masks = masks.to(images)
                shown += masks.sum(0)
                for photo, total in zip(images, sums, strict=True):
                    covered = backbone.colour_mean + masks[:, None] * (photo - backbone.colour_mean)
                    total += torch.einsum("nt,nhw->thw", scorer(covered).to(masks), masks)
        return sums / shown.clamp_min(LEAST * self.masks)

    def _drawn(self, size: tuple[int, int]) -> Iterator[Float[Tensor, "n H W"]]:
        """All masks, `batch` at a time; each is drawn on its own, so that they do not depend on `batch`."""
        random = torch.Generator().manual_seed(self.seed)
        height, width = (-(-side // self.cells) for side in size)  # of a cell, in pixels, rounded up
        for first in range(0, self.masks, self.batch):
            found = []
            for _ in range(first, min(first + self.batch, self.masks)):
                on = (torch.rand(1, 1, self.cells + 1, self.cells + 1, generator=random) < self.keep).float()
                wide = F.interpolate(on, ((self.cells + 1) * height, (self.cells + 1) * width), mode="bilinear")[0, 0]
                top, left = (int(torch.randint(side, (), generator=random)) for side in (height, width))
                found.append(wide[top : top + size[0], left : left + size[1]])
            yield torch.stack(found)
