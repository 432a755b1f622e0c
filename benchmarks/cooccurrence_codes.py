"""Codes to count: made up, of any width, or those of a cache under a model's dictionary.

Out: `SparseCodes` of whole images of 16 × 16 patches, and features for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from sae import SparseAutoencoder, SparseCodes

GRID = (16, 16)
PATCHES = GRID[0] * GRID[1]
SHARED = 2 / 3
"""Share of a patch's concepts that its block of 4 × 4 patches has in common, so that there are regions."""


def made_up(images: int, m: int, k: int, seed: int) -> SparseCodes:
    """Codes of `images` · 256 tokens with up to k concepts each; the r-th is drawn in proportion to 1 / (r + 10).

    A concept that is drawn twice for a token counts once, so that tokens have a little less than k.
    """
    generator = torch.Generator().manual_seed(seed)
    use = (1 / (torch.arange(m, dtype=torch.float64) + 10)).cumsum(0)
    shared = round(SHARED * k)

    def draw(*shape: int) -> Tensor:
        """Concepts by their frequency."""
        return torch.searchsorted(use, torch.rand(shape, generator=generator, dtype=torch.float64) * use[-1])

    blocks = draw(images, 4, 1, 4, 1, shared).expand(images, 4, 4, 4, 4, shared)
    concepts = torch.cat([blocks.reshape(-1, shared), draw(images * PATCHES, k - shared)], dim=1).sort(1).values
    first = torch.ones_like(concepts, dtype=torch.bool)
    first[:, 1:] = concepts.diff(dim=1) != 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), first.sum(1).cumsum(0)])
    activations = 0.1 + torch.empty(int(offsets[-1])).exponential_(generator=generator)
    return SparseCodes(offsets, concepts[first].int(), activations, m)


def in_chunks(codes: SparseCodes, images: int = 64) -> Iterator[tuple[int, SparseCodes]]:
    """The codes as a reader of a cache gives them: first image, codes of so many images."""
    for first in range(0, codes.n // PATCHES, images):
        yield first, codes[first * PATCHES : (first + images) * PATCHES]


@torch.no_grad()
def of_cache(cache: Path, model: Path, tokens: int) -> SparseCodes:
    """Codes of the first images of a cache of 16 × 16 patches: about so many tokens."""
    from insight.cache import FeatureCache

    sae = SparseAutoencoder.from_pretrained(model).eval()
    reader = FeatureCache.open(cache)
    if reader.grid != GRID:
        raise SystemExit(f"{cache}: expected images of {GRID} patches, found {reader.grid}")
    parts = []
    for first, features in reader.scan():
        if first >= tokens:
            break
        parts.append(sae.encode(features))
    return SparseCodes.cat(parts)[: tokens // PATCHES * PATCHES]
