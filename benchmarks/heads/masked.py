"""Sets of photographs with a mask of classes each: MSRC-v2, clothing parts, any other source; and lungs of X-rays.

In: folders, caches and a `Workplace`. Out: `Masked` with photographs to train on and to test on: the class of every
patch, and of every pixel of the square that the backbone sees (pixels are read when they are asked for).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.concepts.material import MASKED
from benchmarks.heads.caches import Workplace
from benchmarks.heads.named import TESTED
from benchmarks.heads.settings import DRAW, SIDE
from benchmarks.probes.metrics import pixel_classes
from insight.backbones import CentreSquare
from insight.cache import FeatureCache
from insight.data import open_source
from insight.data.masks import class_map, decode_mask, read_classes
from sae.errors import InsightError

CHUNK = 64
"""Photographs whose features are held at a time."""
Mask = Callable[[], np.ndarray]
"""Gives the class of each pixel [H, W] of the whole photo, -1 for void."""


@dataclass(frozen=True)
class Photos:
    """Photographs of a cache with masks. images: int64 [p], their numbers there, ascending; classes: int16 [p, t] of
    their patches, -1 void."""

    cache: FeatureCache
    images: np.ndarray
    classes: np.ndarray
    masks: tuple[Mask, ...]

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, photo: int) -> Tensor:
        """int64 [SIDE, SIDE]: the class of each pixel of the square; 255 where nothing is known."""
        mask = self.masks[photo]()
        image = Image.fromarray(np.where(mask < 0, 255, mask).astype(np.uint8))
        return pixel_classes(image, CentreSquare(SIDE), 255)

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Places of some photographs, and the features of their patches [n·t, d], until all were given."""
        for first in range(0, len(self), CHUNK):
            places = slice(first, min(first + CHUNK, len(self)))
            yield places, torch.cat([self.cache.image(int(image)) for image in self.images[places]])

    def part(self, chosen: np.ndarray) -> Photos:
        """Those of these places, ascending."""
        masks = tuple(self.masks[i] for i in chosen)
        return Photos(self.cache, self.images[chosen], self.classes[chosen], masks)


@dataclass(frozen=True)
class Masked:
    """name: as rows say it; labels: names of the classes."""

    name: str
    labels: tuple[str, ...]
    train: Photos
    test: Photos


def read_masked(data: Path, name: str, train: FeatureCache, test: FeatureCache) -> Masked:
    """One of the two sets of `MASKED`, whose photographs stand in the general caches."""
    folder = MASKED[name]
    labels = read_classes(data / folder / "classes.txt")

    def photos(cache: FeatureCache) -> Photos:
        ids = [Path(id) for id in cache.index["id"].to_pylist()]
        images = np.array([image for image, id in enumerate(ids) if id.parts[0] == folder], dtype=np.int64)
        if not len(images):
            raise InsightError(f"{cache.folder}: expected photographs of {folder}, found none")
        files = [data / folder / "masks" / f"{ids[image].stem}.png" for image in images]
        return _of_files(cache, images, files, lambda file: decode_mask(file, str(file), len(labels)))

    return Masked(name, labels, photos(train), photos(test))


def read_lungs(photos: FeatureCache, masks: Path) -> Masked:
    """The X-rays that have a mask below `masks` by the same name, in two halves drawn once; pixels above 127 are lung.

    Neither half was trained on: the concept and its threshold are chosen on one, scored on the other.
    """
    ids = [Path(id) for id in photos.index["id"].to_pylist()]
    files = [masks / id.with_suffix(".png") for id in ids]
    found = np.array([image for image, file in enumerate(files) if file.exists()], dtype=np.int64)
    if len(found) < 2:
        raise InsightError(f"{masks}: expected masks such as {files[0].relative_to(masks)}, found {len(found)}")

    def read(file: Path) -> np.ndarray:
        with Image.open(file) as image:
            return (np.asarray(image.convert("L")) > 127).astype(np.int16)

    whole = _of_files(photos, found, [files[image] for image in found], read)
    order = np.random.default_rng(DRAW).permutation(len(found))
    halves = [whole.part(np.sort(half)) for half in np.array_split(order, 2)]
    return Masked("lungs in X-rays", ("background", "lung"), *halves)


def read_any_masked(name: str, spec: str, place: Workplace) -> Masked:
    """Any source with masks that `open_source` knows and that has a split to train on and one to test on."""
    source = open_source(spec)
    cache = place.cache(name, lambda: source)
    loads = {item.id: item.load_mask for part in source.parts(256) for item in source.read(part)}
    ids, splits = cache.index["id"].to_pylist(), cache.index["split"].to_pylist()

    def photos(tested: bool) -> Photos:
        images = np.array([i for i, split in enumerate(splits) if (split in TESTED) == tested and loads[ids[i]]])
        if not len(images):
            raise InsightError(f"{spec}: expected photographs with masks of a training and a test split, found none")
        classes = cache.patch_classes().numpy()[images]
        return Photos(cache, images, classes, tuple(mask for i in images if (mask := loads[ids[i]]) is not None))

    return Masked(name, cache.classes, photos(False), photos(True))


def _of_files(
    cache: FeatureCache, images: np.ndarray, files: Sequence[Path], read: Callable[[Path], np.ndarray]
) -> Photos:
    view = CentreSquare(cache.encoder["image_size"])
    classes = []
    for file in files:
        mask = read(file)
        classes.append(class_map(mask, view.box(mask.shape[1], mask.shape[0]), cache.grid))
    masks = tuple((lambda file=file: read(file)) for file in files)
    return Photos(cache, images, np.stack(classes), masks)
