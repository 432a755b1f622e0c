"""What stands around a patch: the mean of a map over the 3 × 3 patches with it in the middle, and the adjoint of that.

A patch at the rim has fewer than nine. Both are linear, so what is said of surroundings is still a sum over concepts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float64
from scipy.sparse import block_diag, csr_array, diags_array, hstack, kron

from sae.errors import InsightError


def mean_around(maps: Float64[np.ndarray, "... h w"]) -> Float64[np.ndarray, "... h w"]:
    """The mean of each map over the patches around each patch, itself among them."""
    h, w = maps.shape[-2:]
    return np.asarray(maps.reshape(-1, h * w) @ _mixture(h, w).T).reshape(maps.shape)


def mean_around_adjoint(weights: Float64[np.ndarray, "... h w"]) -> Float64[np.ndarray, "... h w"]:
    """w' with Σ weights · mean_around(map) = Σ w' · map for every map."""
    h, w = weights.shape[-2:]
    return np.asarray(weights.reshape(-1, h * w) @ _mixture(h, w)).reshape(weights.shape)


def codes_around(codes: csr_array, grid: tuple[int, int]) -> csr_array:
    """Mean codes [n · h·w, m] of the patches around each patch, of whole images one after the other."""
    mixed = _mixture(*grid)
    images = codes.shape[0] // mixed.shape[0]
    return csr_array(block_diag([mixed] * images, format="csr") @ codes) if images else codes


def with_surroundings(codes: csr_array, grid: tuple[int, int]) -> csr_array:
    """Codes [n · h·w, m] of whole images, with the mean codes around each patch beside its own: [n · h·w, 2m]."""
    return csr_array(hstack([codes, codes_around(codes, grid)], format="csr"))


def check_whole(codes: csr_array, grid: tuple[int, int]) -> None:
    """`InsightError` when codes are not of whole images of this grid."""
    if min(grid) < 1 or codes.shape[0] % (grid[0] * grid[1]):
        expected = f"whole images of {grid[0]} × {grid[1]} patches"
        raise InsightError(f"codes: expected {expected}, found {codes.shape[0]} rows")


@lru_cache
def _mixture(h: int, w: int) -> csr_array:
    """[h·w, h·w]: row p has the weights of the patches that patch p takes its mean of."""
    return csr_array(kron(_line(h), _line(w), format="csr"))


def _line(n: int) -> csr_array:
    """[n, n]: the mean of each of n places in a line and its neighbours."""
    near = csr_array(diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)))
    return csr_array(diags_array(1 / near.sum(1)) @ near)
