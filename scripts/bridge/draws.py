"""Seeded draws of batches: photos, one view or caption of each, and a template."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """The same seed and the same calls give the same batches."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def several(self, among: int, count: int) -> Tensor:
        """`count` different numbers below `among` (all of them, if there are fewer), in any order."""
        return torch.randperm(among, generator=self.random)[:count]

    def template(self, vectors: Tensor) -> Tensor:
        """One of the t of [t, n, d]."""
        return vectors[int(torch.randint(len(vectors), (1,), generator=self.random))]

    def one_of_each(self, views: Tensor) -> Tensor:
        """[n, d]: of each of n photos one of its k views, [n, k, d]."""
        chosen = torch.randint(views.shape[1], (len(views),), generator=self.random)
        return views[torch.arange(len(views)), chosen]

    def one_where(self, owner: Tensor, photos: Tensor) -> Tensor:
        """[n]: for each of n photos the number of one of the entries that it owns; `owner` [m] is of each entry."""
        odds = (owner == photos[:, None]).float()
        return torch.multinomial(odds, 1, generator=self.random).squeeze(1)

    def patches(self, photos: int, among: int, count: int) -> Tensor:
        """[photos, count] different numbers below `among` for each photo."""
        return torch.rand(photos, among, generator=self.random).argsort(1)[:, :count]
