"""Runs of tokens out of a row of shards: what training, scans and single images all read through.

Tokens of a cache are numbered through: image by image in the order of the shards, patch by patch from the top left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .dtypes import unpack
from .shard import Shard

# Torch works on fewer numbers than this in the calling thread alone. Copying rows is memory's work and hardly gains
# from more threads, but it loses tenfold when they wait for each other on a busy machine (measured).
_SERIAL = 32768 - 1


@dataclass(frozen=True)
class Tokens:
    """Some tokens as they are stored: vectors [n, d] in the cache's dtype and, for int8, scales float32 [n]."""

    stored: Tensor
    scales: Tensor | None

    def all(self) -> Tensor:
        """float32 [n, d]."""
        return self.take(torch.arange(len(self.stored)))

    def take(self, index: Tensor) -> Tensor:
        """The tokens at int64 `index` [b] as float32 [b, d], a new tensor."""
        out = torch.empty(len(index), self.stored.shape[1])
        rows = max(1, _SERIAL // self.stored.shape[1])
        for part, places in zip(out.split(rows), index.split(rows), strict=True):
            scales = None if self.scales is None else self.scales.index_select(0, places)
            unpack(self.stored.index_select(0, places), scales, part)
        return out


class ShardRow:
    """Shards in order. tokens: per image; dim: width of a token. Holds no open files and no data."""

    def __init__(self, shards: Sequence[Shard], tokens: int, dim: int) -> None:
        self.shards = tuple(shards)
        self.dim = dim
        self.sizes = np.array([shard.rows * tokens for shard in shards], dtype=np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes  # first token of each shard

    def read(self, runs: np.ndarray) -> Tokens:
        """The tokens of `runs` (int64 [r, 2]: first token and count; each inside one shard), one after the other.

        Fastest when the runs are in ascending order: then each shard is opened once and read forwards.
        """
        n = int(runs[:, 1].sum())
        dtype = self.shards[0].dtype
        stored = torch.empty(n, self.dim, dtype=dtype)
        scales = None if self.shards[0].scales is None else torch.empty(n)
        width = self.dim * dtype.itemsize
        of_run = np.searchsorted(self.starts, runs[:, 0], side="right") - 1
        cuts = np.flatnonzero(np.diff(of_run)) + 1
        at = 0
        for number, group in zip(of_run[np.concatenate([[0], cuts])], np.split(runs, cuts), strict=True):
            shard = self.shards[number]
            with shard.opened() as file:
                for first, count in (group - [self.starts[number], 0]).tolist():
                    shard.read(file, shard.patches + first * width, stored[at : at + count])
                    if scales is not None and shard.scales is not None:
                        shard.read(file, shard.scales + first * 4, scales[at : at + count])
                    at += count
        return Tokens(stored, scales)
