"""A survey of a cache: how strongly each concept stands in each photograph, and where it is strongest there.

In: a dictionary and a cache, of which at most `MOST` images are read, drawn by a fixed seed. Out: for concepts that are
shown as one, the photographs they are strongest in and a histogram. It takes one pass and is kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from naming.npz import read_npz, write_npz
from sae import SparseAutoencoder
from sae.errors import InsightError

from ..cache import FeatureCache
from ..examples import Example
from .images import Images

MOST = 20_000
TOP = 16
BINS = 24
AT_ONCE = 16
"""Images a step; the encoder is free for others between steps."""
ARRAYS = ["offsets", "photos", "patches", "peaks", "images"]


@dataclass(frozen=True, eq=False)
class Survey:
    """Peaks of concepts in photographs as CSR by concept: row k holds those of concept k, the strongest first."""

    offsets: np.ndarray
    """int64 [m + 1]."""
    photos: np.ndarray
    """int32 [peaks]: a place in `images`."""
    patches: np.ndarray
    """int32 [peaks]: of the grid, row by row."""
    peaks: np.ndarray
    """float32 [peaks]: the concept's largest activation in the photo."""
    images: np.ndarray
    """int64 [n]: the images that were read, ascending, by their place in the cache."""

    def save(self, path: Path) -> None:
        """Write an npz, whole or not at all."""
        write_npz(path, {name: getattr(self, name) for name in ARRAYS})

    @classmethod
    def load(cls, path: Path, concepts: int) -> Survey | None:
        """Read what `save` wrote; None where there is none, or a damaged one, which is then made anew."""
        if not path.exists():
            return None
        try:
            survey = cls(**read_npz(path, ARRAYS, "delete it"))
            whole = len(survey.offsets) == concepts + 1 and int(survey.offsets[-1]) == len(survey.peaks)
        except (InsightError, TypeError, IndexError):
            return None
        return survey if whole else None

    def count(self) -> np.ndarray:
        """int64 [m]: how many examples each concept has, at most `TOP`."""
        return np.diff(self.offsets).clip(max=TOP)

    def examples(self, members: Sequence[int], images: Images, grid: tuple[int, int]) -> list[Example]:
        """Where concepts that are shown as one are strongest, one place a photograph."""
        photos, patches, peaks = self._of(members)
        return [
            Example(images.ids[int(self.images[photo])], *divmod(int(patch), grid[1]), float(peak))
            for photo, patch, peak in zip(photos[:TOP], patches[:TOP], peaks[:TOP], strict=True)
        ]

    def histogram(self, members: Sequence[int]) -> dict[str, object] | None:
        """Photographs by how strongly the concept stands in them, in `BINS` bins of equal ratio; None if it never does.

        {"edges" [BINS + 1], "counts" [BINS], "of": what is counted, as a sentence}.
        """
        photos, _, peaks = self._of(members)
        if not len(peaks):
            return None
        low, high = float(peaks.min()), float(peaks.max())
        low, high = (low, high) if high > low * 1.0001 else (low * 0.99, high * 1.01)
        edges = np.geomspace(low, high, BINS + 1)
        bins = np.clip(np.searchsorted(edges, peaks, side="right") - 1, 0, BINS - 1)
        return {
            "edges": [float(edge) for edge in edges],
            "counts": np.bincount(bins, minlength=BINS).tolist(),
            "of": (
                f"{len(photos):,} of {len(self.images):,} photographs, by the activation of the strongest patch; it"
                " fires nowhere in the others"
            ),
        }

    def _of(self, members: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each photograph the strongest peak among some concepts, the strongest first."""
        parts = [slice(int(self.offsets[k]), int(self.offsets[k + 1])) for k in members]
        photos, patches, peaks = (
            np.concatenate([column[part] for part in parts]) for column in (self.photos, self.patches, self.peaks)
        )
        if len(members) > 1:
            order = np.lexsort((photos, -peaks))
            photos, patches, peaks = photos[order], patches[order], peaks[order]
            first = np.sort(np.unique(photos, return_index=True)[1])
            photos, patches, peaks = photos[first], patches[first], peaks[first]
        return photos, patches, peaks


def survey_cache(
    sae: SparseAutoencoder,
    cache: FeatureCache,
    turn: Callable[[], AbstractContextManager[object]],
    stop: Callable[[], bool],
    most: int = MOST,
) -> Survey | None:
    """The pass. Each step runs within `turn()`, so that others get theirs; None when `stop()` said so."""
    images = _drawn(cache.n_images, most)
    columns: list[tuple[np.ndarray, ...]] = []
    for first, batch in _batches(images):
        if stop():
            return None
        features = torch.cat([cache.image(int(image)) for image in batch])
        positions = np.concatenate([cache.positions(int(image), 1)[0].numpy() for image in batch])
        with turn(), torch.no_grad():
            codes = sae.encode(features.to(sae.decoder.device)).to("cpu")
        token = codes.rows().numpy()
        photo = token // cache.tokens_per_image
        concept, value = codes.concepts.numpy().astype(np.int64), codes.activations.float().numpy()
        order = np.lexsort((token, -value, photo * sae.n_concepts + concept))
        cell = (photo * sae.n_concepts + concept)[order]
        best = order[np.diff(cell, prepend=-1) != 0]
        columns.append((concept[best].astype(np.int32), photo[best] + first, positions[token[best]], value[best]))
    concepts, photos, patches, peaks = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.lexsort((photos, -peaks, concepts))
    counts = np.bincount(concepts, minlength=sae.n_concepts)
    return Survey(
        offsets=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        photos=photos[order].astype(np.int32),
        patches=patches[order].astype(np.int32),
        peaks=peaks[order],
        images=images,
    )


def _drawn(images: int, most: int) -> np.ndarray:
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(0).choice(images, most, replace=False))


def _batches(images: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, len(images), AT_ONCE):
        yield first, images[first : first + AT_ONCE]
