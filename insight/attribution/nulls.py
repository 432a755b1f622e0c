"""Maps that know nothing of what they are asked: what every method has to beat."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError

from .explainer import Explainer
from .scorer import Scorer


@dataclass(frozen=True)
class RandomMap(Explainer):
    """Independent numbers from 0 to 1 on the patch grid, drawn from the seed, the photo's pixels and the text."""

    seed: int = 0

    name = "random"

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        """The same photo and text have the same map in any company and on any device."""
        grid = scorer.backbone.grid_for(images)
        pixels = [hashlib.sha256(photo.detach().cpu().float().numpy().tobytes()).hexdigest() for photo in images]
        drawn = [[self._drawn(photo, text, grid) for text in scorer.texts] for photo in pixels]
        return torch.from_numpy(np.array(drawn)).to(images)

    def _drawn(self, photo: str, text: str, grid: tuple[int, int]) -> Float[np.ndarray, "h w"]:
        digest = hashlib.sha256(f"{self.seed}\n{photo}\n{text}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest, "big")).random(grid)


@dataclass(frozen=True)
class CentrePoint(Explainer):
    """exp(-(x² + y²) / (2 spread²)), the same for all photos and texts: photographers put things in the middle.

    x, y: from the middle of the photo, as shares of its width and height.
    """

    spread: float = 0.25

    name = "centre"

    def __post_init__(self) -> None:
        if not self.spread > 0:
            raise InsightError(f"centre: spread must be above 0, found {self.spread}")

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T H W"]:
        """One value a pixel."""
        height, width = images.shape[-2:]
        y, x = ((torch.arange(side).to(images) + 0.5) / side - 0.5 for side in (height, width))
        bump = torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * self.spread**2))
        return bump.expand(len(images), len(scorer.texts), height, width)
