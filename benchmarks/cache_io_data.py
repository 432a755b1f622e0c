"""The tokens that `benchmarks.cache_io` writes and reads: of a real cache, or structured noise with labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.sae_step import structured
from insight.cache import FeatureCache
from sae.errors import InsightError

MOST_IMAGES = 2000


@dataclass(frozen=True)
class Images:
    """features: float32 [images, tokens, d]; labels: of each image; data: for the record."""

    features: Tensor
    labels: list[str | None]
    data: dict[str, Any]

    def write(self, path: Path, n: int) -> None:
        """The float32 numbers of n images: these ones, again and again."""
        with path.open("wb") as file:
            for first in range(0, n, len(self.features)):
                self.features[: n - first].numpy().tofile(file)


def of_cache(folder: Path, name: str | None) -> Images:
    """The images of a float32 cache, of a large one the first 2,000."""
    cache = FeatureCache.open(folder)
    if cache.manifest.dtype != "float32":
        raise InsightError(
            f"{folder}: expected a cache in float32, because others are compared with exact features, found one in"
            f" {cache.manifest.dtype}; write one by `insight cache write --dtype float32`"
        )
    n = min(cache.n_images, MOST_IMAGES)
    features = torch.stack([cache.image(image) for image in range(n)])
    split = f"{n} images of {features.shape[1]} tokens, d = {cache.dim}"
    data = {"name": f"{name or 'photos'}, patch features of {cache.backbone}", "images": n, "split": split}
    return Images(features, cache.labels[:n], data)


def noise(images: int, tokens: int, dim: int, classes: int) -> Images:
    """Mixes of random directions; an image's class shifts its tokens by less than they differ among themselves."""
    features = structured(dim, images * tokens).view(images, tokens, dim)
    of_image = np.random.default_rng(2).integers(0, classes, images)
    shifts = 0.3 * torch.randn(classes, dim, generator=torch.Generator().manual_seed(3))
    features += shifts[torch.from_numpy(of_image)].unsqueeze(1)
    split = f"{images} made-up images of {tokens} tokens, d = {dim}"
    return Images(
        features, [str(number) for number in of_image], {"name": "structured noise", "images": 0, "split": split}
    )
