"""A backbone whose patches are mean colours, so that what a score depends on is known to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from insight.attribution import Scorer
from insight.backbones import Backbone
from insight.backbones.base import DenseFeatures

MEAN = (0.25, 0.5, 0.125)


class Colours(Backbone):
    """Patches of 4 x 4 pixels, each its mean colour."""

    name, description = "colours", "mean colours of patches"
    dim, patch, grid, image_size, depth, width, n_prefix = 3, 4, (4, 4), 16, 0, 0, 0
    has_class_token = has_text = False
    fingerprint = "colours"

    def __init__(self) -> None:
        super().__init__()
        self.set_colours(MEAN, (1.0, 1.0, 1.0))
        self.calls: list[int] = []

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        self.calls.append(len(images))
        patches = F.avg_pool2d(images, self.patch)
        flat = patches.flatten(2).transpose(1, 2)
        return DenseFeatures(flat, flat.mean(1), (patches.shape[2], patches.shape[3]))


def random_scorer(seed: int, n_texts: int, n_patches: int) -> Scorer:
    """A score of all patches that is not linear in any, from -1 to 1; float64."""
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(n_texts, n_patches, 3, generator=random, dtype=torch.float64)
    texts = tuple(f"text {number}" for number in range(n_texts))
    return Scorer(Colours(), texts, lambda of: torch.tanh(torch.einsum("bpc,tpc->bt", of.patches, weights)))


def random_photos(seed: int, n: int, height: int = 8, width: int = 12) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


COLOURS = {"red": 0, "green": 1, "blue": 2}


@dataclass(frozen=True)
class ColourFinder:
    """A fitted model: how much of a colour the photo has at its most coloured patch, from 0 to 1."""

    backbone: Colours

    def scorer(self, texts: Sequence[str]) -> Scorer:
        channels = [COLOURS[text] for text in texts]
        return Scorer(self.backbone, tuple(texts), lambda of: purity(of.patches)[..., channels].amax(1))


def purity(colours: Tensor) -> Tensor:
    """Of colours [..., 3], how much of each channel there is above the others' mean, and not below 0."""
    return (colours - (colours.sum(-1, keepdim=True) - colours) / 2).clamp(min=0)
