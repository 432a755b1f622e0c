"""Unit vectors that are searched by cosine: as they are where they are few, compressed and in cells where many (faiss).

Vector v is of image v div p, p vectors an image. Up to a limit every vector is kept and compared (`IndexFlatIP`). Above
it, `IVF, SQ4`: a number is kept in four bits, a vector in the cell of its nearest centre, and a query looks into the
`PROBED` nearest cells; centres and ranges are learnt once, from a sample. What is found that way are candidates: the
caller computes their scores from the features themselves. (A product quantiser would take a quarter to a half of the
bytes, but its training took minutes where this takes seconds.)

The vectors lie in parts, files of consecutive images, with the same centres. They are searched one after the other, so
nothing is merged, and the cells of compressed ones are memory-mapped: a query reads those that it looks into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from sae.errors import InsightError
from sae.files import atomic_write

PROBED = 64
SAMPLE = 1 << 18  # vectors to train on, at most: 0.5 GB of 512 dimensions
_A_CELL = 40  # of the sample: faiss wants 39
_FOR_RANGES = 4096  # of the sample, where there are few cells


class Vectors:
    """Parts on disk, opened for search. exact: whether the very nearest are found."""

    def __init__(self, parts: Sequence[Path], per_image: int) -> None:
        import faiss

        self._parts, self._per_image = [_opened(path) for path in parts], per_image
        self.exact = all(isinstance(part, faiss.IndexFlat) for part in self._parts)
        starts = np.cumsum([0, *(part.ntotal for part in self._parts)])
        self._starts = starts[:-1] if self.exact else np.zeros(len(parts), dtype=np.int64)  # cells hold the numbers
        for part in () if self.exact else self._parts:
            part.nprobe = min(PROBED, part.nlist)

    def images_near(self, query: Float[np.ndarray, " d"], count: int) -> np.ndarray:
        """int64: up to `count` different images whose nearest vectors have the largest cosine, best first."""
        asked = np.ascontiguousarray(query[None], dtype=np.float32)
        cosines, found = [], []
        for part, start in zip(self._parts, self._starts.tolist()):
            most = min(count * self._per_image, part.ntotal)  # so many are of at least `count` images
            near, numbers = part.search(asked, most) if most else (np.zeros((1, 0)), np.zeros((1, 0), dtype=np.int64))
            there = numbers[0] >= 0
            cosines.append(near[0][there])
            found.append(numbers[0][there] + start)
        best = np.argsort(-np.concatenate(cosines), kind="stable")
        images = np.concatenate(found)[best] // self._per_image
        _, first = np.unique(images, return_index=True)
        return images[np.sort(first)][:count]


def write_empty(path: Path, dim: int, count: int, flat: int, sample: Callable[[int], np.ndarray]) -> None:
    """Write a part without vectors, for others to start from, where there will be `count` vectors in all.

    flat: up to so many are kept as they are; sample: gives so many of them [s, d] to train on, where there are more.
    """
    import faiss

    index: Any = faiss.IndexFlatIP(dim)
    if count > flat:
        cells = max(1, min(round(2 * count**0.5), min(count, SAMPLE) // _A_CELL))
        index = faiss.index_factory(dim, f"IVF{cells},SQ4", faiss.METRIC_INNER_PRODUCT)
        index.train(sample(max(_A_CELL * cells, _FOR_RANGES)))
    with atomic_write(path) as temporary:
        faiss.write_index(index, str(temporary))


class Part:
    """The vectors of some consecutive images, on their way to disk."""

    def __init__(self, empty: Path) -> None:
        import faiss

        self._index = faiss.read_index(str(empty))
        self._flat = isinstance(self._index, faiss.IndexFlat)

    def add(self, vectors: Float[np.ndarray, "n d"], first: int) -> None:
        """The next vectors, of unit length; first: number of the first of them."""
        vectors = np.ascontiguousarray(vectors)
        if self._flat:
            self._index.add(vectors)
        else:
            self._index.add_with_ids(vectors, np.arange(first, first + len(vectors), dtype=np.int64))

    def write(self, path: Path) -> None:
        """Write them, whole or not at all."""
        import faiss

        with atomic_write(path) as temporary:
            faiss.write_index(self._index, str(temporary))


def _opened(path: Path) -> Any:
    import faiss

    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[-1][:120]
        raise InsightError(f"{path}: damaged ({reason}); delete its folder and build the index again") from None
