"""Regions: 4-connected patches of one image on which one concept fires.

In: codes of whole images. Out: which patches each region has, by sparse graph components over the active entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sae import SparseCodes
from sae.errors import InsightError


@dataclass(frozen=True)
class Regions:
    """All regions of a chunk, by concept, then image, then first patch."""

    patches: csr_array
    """int32 [R, n] of ones: the tokens of each region, ascending."""
    concept: np.ndarray
    """int32 [R], ascending."""
    image: np.ndarray
    """int64 [R]: number of its image within the chunk."""

    @property
    def area(self) -> np.ndarray:
        """int32 [R]: patches of each region, at least 1."""
        return np.diff(self.patches.indptr)


def find_regions(codes: SparseCodes, grid: tuple[int, int]) -> Regions:
    """The regions of images that follow one another in `codes`, h · w rows each, row by row of the grid."""
    height, width = grid
    require_whole_images(codes, grid)
    active = codes.to_scipy().tocsc()  # entries by concept, then token
    tokens = active.indices.astype(np.int64)
    concept = np.repeat(np.arange(codes.n_concepts, dtype=np.int32), np.diff(active.indptr))
    key = concept * np.int64(codes.n) + tokens
    place = tokens % (height * width)
    right = np.flatnonzero((np.diff(key) == 1) & (place[:-1] % width < width - 1))
    above = np.flatnonzero(place < (height - 1) * width)
    below = np.searchsorted(key, key[above] + width)
    found = key[np.minimum(below, len(key) - 1)] == key[above] + width
    first, second = np.concatenate([right, above[found]]), np.concatenate([right + 1, below[found]])
    n = len(tokens)
    joined = csr_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(n, n))
    count, region = connected_components(joined, directed=False)  # numbered by their first entry, so by concept
    patches = csr_array((np.ones(n, dtype=np.int32), (region, active.indices)), shape=(count, codes.n))
    first_entry = patches.indptr[:-1]
    concept_of = np.empty(count, dtype=np.int32)
    concept_of[region] = concept
    return Regions(patches, concept_of, patches.indices[first_entry].astype(np.int64) // (height * width))


def require_whole_images(codes: SparseCodes, grid: tuple[int, int]) -> int:
    """Number of images of h · w rows in `codes`; `InsightError` when the last one is not whole."""
    per_image = grid[0] * grid[1]
    if codes.n % per_image:
        expected = f"whole images of {grid[0]} x {grid[1]} = {per_image} rows"
        raise InsightError(f"expected codes of {expected}, found {codes.n} rows; give the images of one grid whole")
    return codes.n // per_image
