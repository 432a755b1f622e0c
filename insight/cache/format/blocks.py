"""Blocks: how the tokens of an image are cut for shuffling and checking, and the checksum of a block.

The t tokens of an image are cut into p = ceil(t / 64) blocks; block b holds tokens floor(b t / p) to
floor((b + 1) t / p), the last one left out. A block is read whole and compared with its check, so that a flipped bit is
found where it is read, and costs no pass over the cache beforehand.

The check of a block is Σ_j (2 j + 1) s_j modulo 2^64, j counting its tokens from 0 and s_j being the sum of the words
of token j: its stored bytes as little-endian integers with a sign, of the widest of 8, 4, 2 and 1 bytes that divides
their number; with a scale, the bits of the float32 as such an integer times 2^32 + 1 are added to s_j. One flipped bit
changes one word by a power of two times an odd number, and so always the check.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LONGEST = 64
_OF_SCALES = (1 << 32) + 1
_WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def block_edges(tokens: int) -> np.ndarray:
    """int64 [p + 1]: where the blocks of an image of so many tokens begin, and where the last one ends."""
    blocks = -(-tokens // LONGEST)
    return np.arange(blocks + 1, dtype=np.int64) * tokens // blocks


def block_checks(stored: Tensor, scales: Tensor | None, sizes: Tensor) -> Tensor:
    """int64 [b]: the checks of blocks of `sizes` (int64 [b]) that lie one behind the other in stored [n, d]."""
    sums = _sums(stored)
    if scales is not None:
        sums += _OF_SCALES * _sums(scales.unsqueeze(1))
    ends = sizes.cumsum(0)
    place = torch.arange(len(stored)) - torch.repeat_interleave(ends - sizes, sizes, output_size=len(stored))
    running = torch.nn.functional.pad((sums * (2 * place + 1)).cumsum(0), (1, 0))
    return running[ends] - running[ends - sizes]


def image_checks(stored: Tensor, scales: Tensor | None, others: list[Tensor]) -> Tensor:
    """int64 [n, p + 1] of images with patches stored [n, t, d] and scales [n, t]: of each block, then of the rest.

    The rest, `others`, are tensors with a row an image; the check of the rest is Σ_i (2 i + 1) s_i, s_i being the sum
    of the words of the row in tensor i.
    """
    n, t = stored.shape[:2]
    sizes = torch.from_numpy(np.tile(np.diff(block_edges(t)), n))
    of_blocks = block_checks(stored.flatten(0, 1), None if scales is None else scales.flatten(), sizes)
    return torch.cat([of_blocks.view(n, -1), rest_checks(others).unsqueeze(1)], dim=1)


def rest_checks(others: list[Tensor]) -> Tensor:
    """int64 [n]: the last column of `image_checks`."""
    parts = [(2 * i + 1) * _sums(rows.flatten(1)) for i, rows in enumerate(others)]
    return torch.stack(parts).sum(0)


def _sums(rows: Tensor) -> Tensor:
    """int64 [n]: the sum of the words of each row [n, ...], modulo 2^64."""
    raw = rows.contiguous().view(torch.uint8)
    width = next(width for width in _WORDS if raw.shape[1] % width == 0)
    words = raw.flatten().view(_WORDS[width])  # flat, because a sole row may have any stride
    return words.view(len(raw), raw.shape[1] // width).sum(1, dtype=torch.int64)
