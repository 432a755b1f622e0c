"""Which patches of an image are kept when not all are: drawn by seed and the image's id, alike on every machine.

Every patch of the grid has a key: the bytes of SHAKE-128 of "seed/id" (UTF-8, the seed in decimal), eight by eight, as
little-endian numbers without sign. The patches with the smallest keys are kept. So fewer patches of the same seed are
always some of the more, and a cache that kept some can be thinned to what keeping fewer at once would have given.
"""

from __future__ import annotations

import hashlib

import numpy as np


def kept_positions(id: str, grid_size: int, tokens: int, seed: int) -> np.ndarray:
    """int32 [tokens], ascending: the patches, of 0 to grid_size - 1, that are kept of the image."""
    return smallest(patch_keys(id, grid_size, seed), tokens)


def patch_keys(id: str, grid_size: int, seed: int) -> np.ndarray:
    """uint64 [grid_size]: the key of each patch of the image."""
    return np.frombuffer(hashlib.shake_128(f"{seed}/{id}".encode()).digest(8 * grid_size), dtype="<u8")


def smallest(keys: np.ndarray, count: int) -> np.ndarray:
    """int32 [count], ascending: where the smallest keys stand; of equal ones, the first."""
    return np.sort(np.argsort(keys, kind="stable")[:count]).astype(np.int32)
