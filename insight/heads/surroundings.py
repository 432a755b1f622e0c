"""What stands around a patch: the mean of a map over the 3 × 3 patches with it in the middle, and the adjoint of that.

A patch at the rim has fewer than nine. Both are linear, so what is said of surroundings is still a sum over concepts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import uniform_filter
from scipy.sparse import block_diag, csr_array

from sae.errors import InsightError

SIDE = 3


def mean_around(maps: Float64[np.ndarray, "... h w"]) -> Float64[np.ndarray, "... h w"]:
    """The mean of each map over the patches around each patch, itself among them."""
    return _sums(maps) / _counts(*maps.shape[-2:])


def mean_around_adjoint(weights: Float64[np.ndarray, "... h w"]) -> Float64[np.ndarray, "... h w"]:
    """w' with Σ weights · mean_around(map) = Σ w' · map for every map."""
    return _sums(weights / _counts(*weights.shape[-2:]))


def codes_around(codes: csr_array, grid: tuple[int, int]) -> csr_array:
    """Mean codes [n · h·w, m] of the patches around each patch, of whole images one after the other."""
    mixed = _mixture(*grid)
    images = codes.shape[0] // mixed.shape[0]
    return csr_array(block_diag([mixed] * images, format="csr") @ codes) if images else codes


def check_whole(codes: csr_array, grid: tuple[int, int]) -> None:
    """`InsightError` when codes are not of whole images of this grid."""
    if min(grid) < 1 or codes.shape[0] % (grid[0] * grid[1]):
        expected = f"whole images of {grid[0]} × {grid[1]} patches"
        raise InsightError(f"codes: expected {expected}, found {codes.shape[0]} rows")


def _sums(maps: np.ndarray) -> np.ndarray:
    size = (1,) * (maps.ndim - 2) + (SIDE, SIDE)
    return uniform_filter(maps, size, mode="constant") * SIDE**2


@lru_cache
def _counts(h: int, w: int) -> Float64[np.ndarray, "h w"]:
    return np.rint(_sums(np.ones((h, w))))


@lru_cache
def _mixture(h: int, w: int) -> csr_array:
    """[h·w, h·w]: row p has the weights of the patches that patch p takes its mean of."""
    row, column = np.divmod(np.arange(h * w), w)
    near = (np.abs(row[:, None] - row) <= 1) & (np.abs(column[:, None] - column) <= 1)
    return csr_array(near / near.sum(1, keepdims=True))
