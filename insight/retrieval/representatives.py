"""A few patches that stand for all patches of an image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def representatives(patches: Float[Tensor, "b t d"], count: int) -> Float[Tensor, "b p d"]:
    """Unit vectors of `count` patches of each image, all where it has no more: farthest-first (Gonzalez 1985).

    The first is the one nearest to the mean direction; each further one is the patch whose largest cosine to those
    chosen so far is smallest, so that small things are among them too. The widest angle that is left between a patch
    and those chosen is at most twice the least possible.
    """
    unit = F.normalize(patches, dim=2)
    if count >= unit.shape[1]:
        return unit
    every = torch.arange(len(unit), device=unit.device)
    place = torch.einsum("btd,bd->bt", unit, unit.mean(1)).argmax(1)
    chosen = [unit[every, place]]
    nearest = torch.einsum("btd,bd->bt", unit, chosen[0])
    while len(chosen) < count:
        chosen.append(unit[every, nearest.argmin(1)])
        nearest = torch.maximum(nearest, torch.einsum("btd,bd->bt", unit, chosen[-1]))
    return torch.stack(chosen, 1)
