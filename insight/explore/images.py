"""The photographs behind a model: pictures by the id of an image, and features where there is a cache.

In: a folder of photographs, or a feature cache that was made from one. Out: pictures and patch features. Ids come from
files that others may have written, so none of them leads outside the folder, links included.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sae.errors import InsightError

from ..backbones import CentreSquare
from ..cache.format.manifest import FILE as MANIFEST
from ..data.decode import decode
from ..data.folder import SUFFIXES, ImageFolder
from ..data.place import FOLDER, found_at
from .refusal import Refusal

if TYPE_CHECKING:
    from ..cache import FeatureCache

DECODED_AT_ONCE = 2
"""Photographs whose pixels are in memory at a time: each may take half a gigabyte."""
LOOKED_AT = 64
"""Ids by which it is told whether a model's examples are in the folder."""


class Images:
    """Photographs in `folder` (None: they are not here), and the `cache` with their features (None: there is none)."""

    def __init__(self, folder: Path | None, cache: FeatureCache | None = None) -> None:
        self.folder = None if folder is None else folder.resolve()
        self.cache = cache
        self._decoding = Semaphore(DECODED_AT_ONCE)
        self._listing = Lock()

    @classmethod
    def open(cls, place: Path) -> Images:
        """A cache, or else a folder of photographs. `InsightError` where neither is."""
        if (place / MANIFEST).exists():
            from ..cache import FeatureCache

            cache = FeatureCache.open(place)
            return cls(cache.manifest.photo_folder, cache)
        if (found := found_at(place)) != FOLDER:
            raise InsightError(f"{place}: expected a folder of photographs or a feature cache, found {found}")
        return cls(place)

    def path(self, image: str) -> Path:
        """The file of an image. `Refusal` (404) for an id that leads outside the folder, and where no photo is."""
        inside = PurePosixPath(image)
        wrong = inside.is_absolute() or ".." in inside.parts or "\0" in image or "\\" in image
        if self.folder is None or wrong or inside.suffix.lower() not in SUFFIXES:
            raise Refusal("the photograph of this image is not in the folder of photographs", 404)
        try:
            path = (self.folder / inside).resolve()
            there = path.is_relative_to(self.folder) and path.is_file()
        except (OSError, RuntimeError, ValueError):  # a name too long, links that go round
            there = False
        if not there:
            raise Refusal("the photograph of this image is not in the folder of photographs", 404)
        return path

    def has(self, images: list[str]) -> bool:
        """Whether any of some images is in the folder."""
        for image in images[:LOOKED_AT]:
            try:
                self.path(image)
            except Refusal:
                continue
            return True
        return False

    def square(self, image: str, pixels: int) -> Image.Image:
        """The centre square of an image, as a backbone sees it, at most so many pixels wide."""
        path = self.path(image)
        with self._decoding:
            return CentreSquare(pixels).view(decode(path), pixels)

    @cached_property
    def ids(self) -> list[str]:
        """Ids of all images; of a folder it takes a walk through it."""
        with self._listing:
            if self.cache is not None:
                return list(self.cache.index["id"].to_pylist())
            return [] if self.folder is None else ImageFolder(self.folder).ids()

    @property
    def what(self) -> str:
        """What there is, for people."""
        if self.cache is not None:
            return f"{self.cache.n_images:,} photographs"
        if "ids" in self.__dict__:
            return f"{len(self.ids):,} photographs"
        return f"photographs in {self.folder.name}" if self.folder else "no photographs"

    def features(self, image: str) -> tuple[Float[Tensor, "t d"], np.ndarray] | None:
        """The patch features of an image and which patches of the grid they are; None where no cache has them."""
        if self.cache is None or image not in self._places:
            return None
        place = self._places[image]
        return self.cache.image(place), self.cache.positions(place, 1)[0].numpy()

    @cached_property
    def _places(self) -> dict[str, int]:
        return {image: place for place, image in enumerate(self.ids)}


def on_grid(values: Float[np.ndarray, " t"], positions: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Values of some patches as a map [h, w], 0 elsewhere."""
    heat = np.zeros(grid[0] * grid[1], np.float32)
    heat[positions] = values
    return heat.reshape(grid)


