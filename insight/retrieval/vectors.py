"""Unit vectors that are searched by cosine: as they are where they are few, compressed and in cells where many (faiss).

Vector v is of image v div p, p vectors an image. Up to a limit every vector is kept and compared (`IndexFlatIP`). Above
it, `IVF, PQ` (Jégou et al. 2011): a vector is kept as one byte for every `BYTE_DIMS` dimensions, in the cell of its
nearest centre, and a query looks into the `PROBED` nearest cells. Centres and codes are trained on a sample. What is
found that way are candidates: the caller computes their scores from the features themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sae.errors import InsightError
from sae.files import atomic_write

BYTE_DIMS = 4
PROBED = 64
SAMPLE = 1 << 18  # vectors to train on, at most: 0.5 GB of 512 dimensions
_A_CELL = 40  # of the sample: faiss wants 39


class Vectors:
    """An index on disk, opened for search. exact: whether it finds the very nearest."""

    def __init__(self, path: Path, per_image: int) -> None:
        import faiss

        try:  # cells stay on disk, in the file of the same name beside it
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_ONDISK_SAME_DIR)
        except RuntimeError as error:
            reason = (str(error).splitlines() or [""])[-1][:120]
            raise InsightError(f"{path}: damaged ({reason}); delete its folder and build the index again") from None
        self._per_image = per_image
        self.exact = isinstance(self._index, faiss.IndexFlat)
        if not self.exact:
            self._index.nprobe = min(PROBED, self._index.nlist)

    def images_near(self, query: Float[np.ndarray, " d"], count: int) -> np.ndarray:
        """int64: up to `count` different images whose nearest vectors have the largest cosine, best first."""
        asked = min(count * self._per_image, self._index.ntotal)  # so many are of at least `count` images
        _, found = self._index.search(_padded(query[None], self._index.d), asked)
        images = found[0][found[0] >= 0] // self._per_image
        _, first = np.unique(images, return_index=True)
        return images[np.sort(first)][:count]


def write_empty(path: Path, dim: int, count: int, flat: int, sample: Callable[[int], np.ndarray]) -> None:
    """Write an index without vectors that is made for `count` of them.

    flat: up to so many are kept as they are; sample: gives so many of them [s, d] to train on, where there are more.
    """
    import faiss

    if count <= flat:
        index = faiss.IndexFlatIP(dim)
    else:
        cells = max(1, min(round(4 * count**0.5), min(count, SAMPLE) // _A_CELL))
        codes = -(-dim // BYTE_DIMS)
        index = faiss.index_factory(codes * BYTE_DIMS, f"IVF{cells},PQ{codes}x8", faiss.METRIC_INNER_PRODUCT)
        index.train(_padded(sample(min(count, SAMPLE, max(_A_CELL * cells, 1 << 14))), index.d))
    with atomic_write(path) as temporary:
        faiss.write_index(index, str(temporary))


class Part:
    """The vectors of some consecutive images, on their way to disk."""

    def __init__(self, empty: Path, first: int) -> None:
        import faiss

        self._index = faiss.read_index(str(empty))
        self._next, self._flat = first, isinstance(self._index, faiss.IndexFlat)

    def add(self, vectors: Float[np.ndarray, "n d"]) -> None:
        """The next vectors, of unit length."""
        if self._flat:
            self._index.add(np.ascontiguousarray(vectors))
        else:
            numbers = np.arange(self._next, self._next + len(vectors), dtype=np.int64)
            self._index.add_with_ids(_padded(vectors, self._index.d), numbers)
            self._next += len(vectors)

    def write(self, path: Path) -> None:
        """Write them, whole or not at all."""
        import faiss

        with atomic_write(path) as temporary:
            faiss.write_index(self._index, str(temporary))


def merge_parts(path: Path, empty: Path, parts: Sequence[Path]) -> None:
    """Write the index of the parts' vectors; of one in cells these go to a file beside it, not through memory."""
    import faiss
    from faiss.contrib.ondisk import merge_ondisk

    index = faiss.read_index(str(empty))
    if isinstance(index, faiss.IndexFlat):
        for part in parts:
            index.merge_from(faiss.read_index(str(part)), 0)
    else:
        cells = cells_of(path)
        cells.unlink(missing_ok=True)  # by a run that was killed
        merge_ondisk(index, [str(part) for part in parts], str(cells))
        with cells.open("rb+") as file:
            os.fsync(file.fileno())
    with atomic_write(path) as temporary:
        faiss.write_index(index, str(temporary))


def cells_of(path: Path) -> Path:
    """Where the cells of an index lie."""
    return path.with_suffix(".ivfdata")


def _padded(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Float32 [n, dim]: zeros behind, which change no product."""
    padded: np.ndarray = np.zeros((len(vectors), dim), dtype=np.float32)
    padded[:, : vectors.shape[1]] = vectors
    return padded
