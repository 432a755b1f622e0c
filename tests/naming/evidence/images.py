"""Codes of whole images for the tests of this folder, and passes over them."""

import torch

from naming import Evidence, RegionPairs
from sae import SparseCodes


def random_images(generator: torch.Generator, images: int, grid: tuple[int, int], m: int) -> torch.Tensor:
    """float32 [images · h · w, m]: a concept fires on most patches of one image and on few of another.

    The last concept is dead.
    """
    share = torch.rand(images, 1, m, generator=generator) ** 2
    share[..., -1] = 0
    dense = torch.rand(images, grid[0] * grid[1], m, generator=generator)
    return torch.where(dense < share, dense + 0.01, torch.zeros(())).flatten(0, 1)


def region_pairs(dense: torch.Tensor, grid: tuple[int, int], cuts: tuple[int, ...] = (), **options) -> RegionPairs:
    """One pass; `cuts`: numbers of images after which a new chunk begins."""
    pairs = RegionPairs(dense.shape[1], grid, **options)
    for part in torch.tensor_split(dense, [cut * grid[0] * grid[1] for cut in cuts]):
        pairs.update(SparseCodes.from_dense(part))
    return pairs


def evidence_of(
    dense: torch.Tensor, features: torch.Tensor, grid: tuple[int, int], cuts: tuple[int, ...] = (), first=0, **options
) -> Evidence:
    """One pass over images numbered from `first`; `cuts` as above."""
    evidence = Evidence(dense.shape[1], grid, features.shape[1], **options)
    per_image = grid[0] * grid[1]
    starts, ends = (0, *cuts), (*cuts, len(dense) // per_image)
    for start, end in zip(starts, ends, strict=True):
        part = slice(start * per_image, end * per_image)
        evidence.update(SparseCodes.from_dense(dense[part]), features[part], first + start)
    return evidence
