"""A few unit vectors that stand for all patches of an image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

ROUNDS = 3  # of k-means: more bring nothing that could be measured


def representatives(patches: Float[Tensor, "b t d"], count: int) -> Float[Tensor, "b p d"]:
    """`count` unit vectors for each image: the mean directions of clusters of its patches; all patches where it has no
    more than that.

    Spherical k-means within each image. It begins with patches chosen farthest-first (Gonzalez 1985): the one nearest
    to the mean direction, then each time the one whose largest cosine to those chosen is smallest, so that small things
    get a cluster too. A cluster that loses all its patches stays where it was.
    """
    unit = F.normalize(patches, dim=2)
    if count >= unit.shape[1]:
        return unit
    centres = _farthest_first(unit, count)
    for _ in range(ROUNDS):
        nearest = (unit @ centres.mT).argmax(2, keepdim=True).expand(-1, -1, unit.shape[2])
        sums = torch.zeros_like(centres).scatter_add_(1, nearest, unit)
        empty = torch.linalg.vector_norm(sums, dim=2, keepdim=True) == 0
        centres = F.normalize(torch.where(empty, centres, sums), dim=2)
    return centres


def _farthest_first(unit: Float[Tensor, "b t d"], count: int) -> Float[Tensor, "b p d"]:
    every = torch.arange(len(unit), device=unit.device)
    place = torch.einsum("btd,bd->bt", unit, unit.mean(1)).argmax(1)
    chosen = [unit[every, place]]
    nearest = torch.einsum("btd,bd->bt", unit, chosen[0])
    while len(chosen) < count:
        chosen.append(unit[every, nearest.argmin(1)])
        nearest = torch.maximum(nearest, torch.einsum("btd,bd->bt", unit, chosen[-1]))
    return torch.stack(chosen, 1)
