"""How the regions of one concept lie to those of another: on them, covering part of them, or beside them.

In: codes of whole images, chunk by chunk. Out: sums over regions and images for each ordered pair of concepts that ever
met. A region is a 4-connected set of patches of one image on which one concept fires. Work O(tokens · k²).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, hstack, vstack

from sae import SparseCodes
from sae.errors import InsightError

from ..npz import read_npz, write_npz
from .components import Regions, find_regions, require_whole_images
from .pairs import PairSums, Planes

BUFFERED = 1 << 18
"""Active entries gathered before they are multiplied: small chunks would pay for the product's m rows each time."""


class RegionPairs:
    """Streaming sums over regions. Matrices are [m, m]: row i is about the regions of concept i, the diagonal is empty.

    With `most_partners` = c each of the two patterns (pairs on each other, pairs beside each other) keeps at most c
    partners a row; `missed` and `missed_beside` bound what the rows lack (proof in `PairSums`).
    """

    def __init__(self, n_concepts: int, grid: tuple[int, int], *, most_partners: int | None = None) -> None:
        if len(grid) != 2 or min(grid) < 1:
            raise InsightError(f"RegionPairs: expected a grid of at least 1 x 1 patches, found {grid}")
        self.n_concepts, self.grid = n_concepts, (int(grid[0]), int(grid[1]))
        self._sizes: np.ndarray = np.zeros((3, n_concepts), dtype=np.int64)  # images, regions, area
        self._on = PairSums(n_concepts, 2, most_partners)  # inside + i · covered_images, cover + i · cover_squares
        self._beside = PairSums(n_concepts, 1, most_partners)
        self._buffer: list[SparseCodes] = []

    def update(self, codes: SparseCodes) -> None:
        """Count the regions of whole images: h · w rows each, row by row of the grid."""
        if codes.n_concepts != self.n_concepts:
            raise InsightError(f"RegionPairs: expected codes of {self.n_concepts} concepts, found {codes.n_concepts}")
        require_whole_images(codes, self.grid)
        self._buffer.append(codes.to("cpu"))
        if sum(part.nnz for part in self._buffer) >= BUFFERED:
            self._count()

    def merge(self, other: RegionPairs) -> None:
        """Add the sums of a pass over other images; `other` keeps its own."""
        if (other.n_concepts, other.grid) != (self.n_concepts, self.grid):
            expected, found = f"{self.n_concepts} on {self.grid}", f"{other.n_concepts} on {other.grid}"
            raise InsightError(f"RegionPairs: expected concepts {expected}, found {found}")
        other._count()
        self._on.merge(other._on)
        self._beside.merge(other._beside)
        self._sizes = self._sizes + other._sizes

    @property
    def images(self) -> np.ndarray:
        """int64 [m]: images in which each concept fires."""
        self._count()
        return self._sizes[0]

    @property
    def regions(self) -> np.ndarray:
        """int64 [m]: regions of each concept."""
        self._count()
        return self._sizes[1]

    @property
    def area(self) -> np.ndarray:
        """int64 [m]: patches of each concept."""
        self._count()
        return self._sizes[2]

    @property
    def covered_images(self) -> csr_array:
        """int64 [i, j]: images in which j fires on at least half of all patches of i."""
        return _without_zeros(self._pairs()[0].imag.astype(np.int64))

    @property
    def inside(self) -> csr_array:
        """int64 [i, j]: patches of i that are in regions of which at least half of the patches fire j."""
        return self._pairs()[0].real.astype(np.int64)

    @property
    def cover(self) -> csr_array:
        """float64 [i, j]: over the patches counted by `inside`, the sum of c = |r ∩ S| / |S|, r the patch's region.

        S is the union of the regions of j that share a patch with r: c is the portion of the other that r covers. By
        patches and not by regions, as most regions are specks of a patch or two, which cover little of anything.
        """
        return self._pairs()[1].real

    @property
    def cover_squares(self) -> csr_array:
        """float64 [i, j]: the sum of c², for the spread of c."""
        return self._pairs()[1].imag

    @property
    def beside(self) -> csr_array:
        """int64 [i, j]: regions of i without a patch of j on them, but with one next to them (4-neighbours)."""
        self._count()
        return self._beside.total()[0].real.astype(np.int64)

    @property
    def most_partners(self) -> int | None:
        """Partners kept of each concept in each pattern; None: all."""
        return self._on.most_partners

    @property
    def missed(self) -> np.ndarray:
        """float64 [m]: at most so many patches are missing from row i of `inside`; 0 where exact.

        And at most as much from the other three numbers, none of which exceeds `inside`.
        """
        self._pairs()
        return self._on.missed

    @property
    def missed_beside(self) -> np.ndarray:
        """float64 [m]: the same for `beside`."""
        _ = self.beside
        return self._beside.missed

    def save(self, path: Path | str) -> None:
        """Write an npz: `grid`, `sizes` (rows: images, regions, area), and the state of both sums."""
        self._count()
        own = {"grid": np.array(self.grid), "sizes": self._sizes}
        write_npz(path, own | self._on.arrays("on_") | self._beside.arrays("beside_"))

    @classmethod
    def load(cls, path: Path | str) -> RegionPairs:
        """Read what `save` wrote."""
        remedy = "count the codes again (`insight relate`)"
        names = [*PairSums.names("on_", 2), *PairSums.names("beside_", 1)]
        arrays = read_npz(path, ["grid", "sizes", *names], remedy)
        try:
            loaded = cls(arrays["sizes"].shape[-1], tuple(arrays["grid"].tolist()))
            loaded._sizes += arrays["sizes"]
            loaded._on = PairSums.restore(arrays, "on_", loaded.n_concepts, 2)
            loaded._beside = PairSums.restore(arrays, "beside_", loaded.n_concepts, 1)
        except (InsightError, ValueError, TypeError) as error:
            raise InsightError(f"{path}: expected sums over regions, found others ({error}); {remedy}") from None
        return loaded

    def _pairs(self) -> Planes:
        self._count()
        return self._on.total()

    def _count(self) -> None:
        if not self._buffer:
            return
        codes = SparseCodes.cat(self._buffer)
        self._buffer = []
        if not codes.nnz:
            return
        regions = find_regions(codes, self.grid)
        m = self.n_concepts
        first = np.ones(len(regions.concept), dtype=bool)
        first[1:] = (np.diff(regions.concept) != 0) | (np.diff(regions.image) != 0)
        self._sizes[0] += np.bincount(regions.concept[first], minlength=m)
        self._sizes[1] += np.bincount(regions.concept, minlength=m)
        self._sizes[2] += np.bincount(codes.concepts.numpy(), minlength=m)
        overlap, union = _overlaps(regions, m)
        self._on.add(_standing(regions, np.flatnonzero(first), overlap, union))
        self._beside.add((_neighbours(regions, codes, self.grid, overlap),))


def _overlaps(regions: Regions, m: int) -> tuple[csr_array, np.ndarray]:
    """Per region r and concept j on it: |r ∩ S| as float32 [R, m], and |S| of the same entries (S: see `cover`)."""
    shared = regions.patches @ regions.patches.T.tocsr()
    both = shared.data + np.complex64(1j) * regions.area.astype(np.float32)[shared.indices]
    n = len(regions.concept)
    concept_of = csr_array((np.ones(n, dtype=np.float32), regions.concept, np.arange(n + 1)), shape=(n, m))
    summed = _like(shared, both) @ concept_of
    return _like(summed, summed.data.real), summed.data.imag


def _standing(regions: Regions, first: np.ndarray, overlap: csr_array, union: np.ndarray) -> Planes:
    """inside + i · covered_images and cover + i · cover_squares. `first`: a concept's first region of each image."""
    n, m = overlap.shape
    portion = overlap.data.astype(np.float64) / union
    patches = np.repeat(regions.area, np.diff(overlap.indptr))  # of the region in each row
    cover = _like(overlap, patches * (portion + 1j * portion * portion))
    inside = _half(overlap, regions.area, regions.concept)
    in_image = _collapsed(overlap, np.append(first, n))
    covered = _half(in_image, np.add.reduceat(regions.area, first), regions.concept[first])
    rows = np.searchsorted(regions.concept, np.arange(m + 1))
    images = np.searchsorted(regions.concept[first], np.arange(m + 1))
    counts = _sums(_where(_like(overlap, patches), inside), rows)
    return counts + 1j * _sums(_where(_ones(in_image), covered), images), _sums(_where(cover, inside), rows)


def _half(overlap: csr_array, area: np.ndarray, concept: np.ndarray) -> np.ndarray:
    """bool, entry by entry: the row's patches are at least half covered, by another concept than its own."""
    row = np.repeat(np.arange(len(area)), np.diff(overlap.indptr))
    return (2 * overlap.data >= area[row]) & (overlap.indices != concept[row])


def _neighbours(regions: Regions, codes: SparseCodes, grid: tuple[int, int], overlap: csr_array) -> csr_array:
    """Regions of i with a patch of j next to them and none on them [m, m]."""
    n, m = overlap.shape
    on = 4 * grid[0] * grid[1] + 1  # outweighs all patches that can be next to one region
    reached = regions.patches @ _steps(codes.n, grid, on)
    around = _where(reached, reached.data < on)
    strength = codes.to_scipy()
    # one product counts the patches next to a region that fire j and adds `on` where j fires on the region itself
    either = hstack([around, csr_array((np.full(n, on), (np.arange(n),) * 2), shape=(n, n))], format="csr")
    met = either @ vstack([_ones(strength), _ones(overlap)], format="csr")
    return _sums(_where(_ones(met), met.data < on), np.searchsorted(regions.concept, np.arange(m + 1)))


def _steps(n: int, grid: tuple[int, int], on: int) -> csr_array:
    """int32 [n, n]: 1 from each patch to its 4-neighbours, `on` from each patch to itself."""
    height, width = grid
    patch = np.arange(n, dtype=np.int32)
    place = patch % (height * width)
    right = patch[place % width < width - 1]
    below = patch[place < (height - 1) * width]
    rows = np.concatenate([patch, right, right + 1, below, below + width])
    columns = np.concatenate([patch, right + 1, right, below + width, below])
    values = np.ones(len(rows), dtype=np.int32)
    values[:n] = on
    return csr_array((values, (rows, columns)), shape=(n, n))


def _like(pattern: csr_array, values: np.ndarray) -> csr_array:
    return csr_array((values, pattern.indices, pattern.indptr), shape=pattern.shape)


def _ones(pattern: csr_array) -> csr_array:
    return _like(pattern, np.ones(len(pattern.data), dtype=np.int32))


def _where(matrix: csr_array, mask: np.ndarray) -> csr_array:
    """The entries of `matrix` chosen by `mask`."""
    entries = np.flatnonzero(mask)
    offsets = np.searchsorted(entries, matrix.indptr).astype(matrix.indptr.dtype)
    return csr_array((matrix.data.take(entries), matrix.indices.take(entries), offsets), shape=matrix.shape)


def _collapsed(matrix: csr_array, starts: np.ndarray) -> csr_array:
    """Rows summed in runs: row g is the sum of rows starts[g] to starts[g + 1]; unsorted."""
    n, groups = matrix.shape[0], len(starts) - 1
    runs = csr_array((np.ones(n, dtype=matrix.dtype), np.arange(n), starts), shape=(groups, n))
    return runs @ matrix


def _sums(matrix: csr_array, starts: np.ndarray) -> csr_array:
    """`_collapsed` in double precision, its rows sorted."""
    double = np.complex128 if np.iscomplexobj(matrix.data) else np.float64
    return _collapsed(matrix, starts).astype(double).tocsc().tocsr()


def _without_zeros(matrix: csr_array) -> csr_array:
    matrix.eliminate_zeros()
    return matrix
