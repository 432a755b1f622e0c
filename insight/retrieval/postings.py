"""Which images hold a concept, and how strongly: sparse columns on disk, read concept by concept.

Three arrays: `offsets.npy` int64 [m + 1], `images.npy` int32 [nnz] and `activations.npy` float32 [nnz]; the images of
concept c are entries offsets[c] to offsets[c + 1], by rising number, each with the concept's largest activation on its
patches. They are memory-mapped: a query reads the stretches of its concepts and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from naming.npz import read_npz, write_npz
from sae import SparseCodes
from sae.files import atomic_write

OFFSETS, IMAGES, ACTIVATIONS = FILES = ("offsets.npy", "images.npy", "activations.npy")


class Postings:
    """The arrays of a folder, opened and not read."""

    def __init__(self, folder: Path) -> None:
        self._offsets = np.load(folder / OFFSETS, allow_pickle=False)
        self._images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        self._activations = np.load(folder / ACTIVATIONS, mmap_mode="r", allow_pickle=False)

    def of(self, concept: int) -> tuple[np.ndarray, np.ndarray]:
        """Images that hold the concept, int32 ascending, and its largest activation in each, float32."""
        entries = slice(*self._offsets[concept : concept + 2])
        return np.asarray(self._images[entries]), np.asarray(self._activations[entries])


def write_part(path: Path, pooled: SparseCodes, first: int) -> None:
    """Write the postings of some images from their pooled codes [images, m]; first: number of the first image."""
    columns = pooled.to_scipy().tocsc()
    columns.sort_indices()
    arrays = {
        "offsets": columns.indptr.astype(np.int64),
        "images": (columns.indices.astype(np.int64) + first).astype(np.int32),
        "activations": columns.data.astype(np.float32),
    }
    write_npz(path, arrays)


def merge_parts(folder: Path, parts: Sequence[Path], n_concepts: int) -> None:
    """Write the arrays from parts of consecutive images, one part in memory at a time."""
    remedy = f"delete {folder} and run the same command again"
    starts = np.zeros(n_concepts + 1, dtype=np.int64)
    for part in parts:
        starts[1:] += np.diff(read_npz(part, ["offsets"], remedy)["offsets"])
    np.cumsum(starts, out=starts)
    with atomic_write(folder / OFFSETS) as temporary, temporary.open("wb") as file:
        np.save(file, starts, allow_pickle=False)
    total = int(starts[-1])
    with atomic_write(folder / IMAGES) as of_images, atomic_write(folder / ACTIVATIONS) as of_activations:
        images = _array(of_images, np.int32, total)
        activations = _array(of_activations, np.float32, total)
        filled = starts[:-1].copy()  # where the next entry of each concept goes
        for part in parts:
            held = read_npz(part, ["offsets", "images", "activations"], remedy)
            counts = np.diff(held["offsets"])
            place = np.repeat(filled - held["offsets"][:-1], counts) + np.arange(len(held["images"]))
            images[place], activations[place] = held["images"], held["activations"]
            filled += counts
        for array in (images, activations):
            if isinstance(array, np.memmap):
                array.flush()


def _array(path: Path, dtype: type[np.generic], size: int) -> np.ndarray:
    """An array in a new .npy file; one without entries cannot be mapped."""
    if size:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(size,))
    empty: np.ndarray = np.zeros(0, dtype)
    with path.open("wb") as file:
        np.save(file, empty, allow_pickle=False)
    return empty
