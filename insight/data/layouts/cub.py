"""CUB-200-2011: birds of 200 species, with the bird's outline and the points of 15 parts.

Held are the names, species and splits of the images. The mask is figure against ground; the points are read apart.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sae.errors import InsightError

from ..decode import decode, opened
from ..place import FILE, found_at
from ..source import Item
from .layout import Layout, choose_splits, plain_path, read_lines

CLASSES = ("background", "bird")
SPLITS = {"1": "train", "0": "test"}


class Cub(Layout):
    """`cub:ROOT?split=train`, ROOT being CUB_200_2011: images.txt, classes.txt, train_test_split.txt, segmentations.

    split: train or test, both without it. The label is the species ("Black footed Albatross"). A pixel of a mask is
    "bird" where at least half of the annotators drew one (128 of 255), else "background"; the folder `segmentations`,
    which comes as an archive of its own, may lie in ROOT or beside it.
    """

    kind = "cub"

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        super().__init__(root)
        self.classes = CLASSES
        files = _column(self.root / "images.txt")
        species = _column(self.root / "classes.txt")
        of_image = _column(self.root / "image_class_labels.txt")
        trained = _column(self.root / "train_test_split.txt")
        splits = choose_splits(split, list(SPLITS.values()), ("train", "test"), str(self.root / "train_test_split.txt"))
        self.asked = {"split": ",".join(splits)}
        inside, beside = self.root / "segmentations", self.root.resolve().parent / "segmentations"
        self._masks = inside if inside.is_dir() else beside
        self._known: dict[str, tuple[str, str]] = {}
        for number, file in files.items():
            of_split, name = SPLITS.get(trained.get(number, "")), species.get(of_image.get(number, ""))
            if of_split is None or name is None:
                what = "a split of 0 or 1" if of_split is None else "a class of classes.txt"
                raise InsightError(f"{self.root}: expected {what} for image {number} of images.txt, found none")
            if of_split in splits:
                id = f"images/{plain_path(file, str(self.root / 'images.txt'))}"
                self._known[id] = (name.partition(".")[2].replace("_", " ") or name, of_split)

    def ids(self) -> list[str]:
        """`images/SPECIES/NAME.jpg` in the order of images.txt."""
        return list(self._known)

    def item(self, id: str) -> Item:
        """The image of this id."""
        if id not in self._known:
            raise self.unknown(id)
        label, split = self._known[id]
        path = self._masks / Path(id.removeprefix("images/")).with_suffix(".png")
        mask = partial(_figure, path) if found_at(path) == FILE else None
        return Item(id, label, split, partial(decode, self.root / id), mask)


class PartPoint(NamedTuple):
    """Where the annotators saw a part: x and y in pixels of the photograph, from its upper left corner."""

    part: str
    x: float
    y: float


def part_locations(root: Path | str) -> dict[str, list[PartPoint]]:
    """The visible parts of every image, by its id as `Cub` gives it; [] for an image that shows none.

    Read from parts/parts.txt and parts/part_locs.txt, which has for each image and part x, y and whether it is visible.
    `InsightError` names the line that is not such.
    """
    root = Path(root)
    files, parts = _column(root / "images.txt"), _column(root / "parts" / "parts.txt")
    points: dict[str, list[PartPoint]] = {number: [] for number in files}
    path = root / "parts" / "part_locs.txt"
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            image, part, x, y, visible = line.split()
            point, seen = PartPoint(parts[part], float(x), float(y)), points[image]
        except (ValueError, KeyError):
            raise InsightError(
                f"{path}, line {number}: expected a known image, a known part, x, y and 0 or 1, found {line[:60]!a}"
            ) from None
        if visible == "1":
            seen.append(point)
    return {f"images/{file}": points[number] for number, file in files.items()}


def _figure(path: Path) -> np.ndarray:
    """int16 [H, W]: 1 for the bird, 0 for what is around it."""
    with opened(path, str(path)) as image:
        return (np.asarray(image.convert("L")) >= 128).astype(np.int16)


def _column(path: Path) -> dict[str, str]:
    """From the number that begins each line to what follows it."""
    lines = [line.split(maxsplit=1) for line in read_lines(path) if line.strip()]
    wrong = next((number for number, words in enumerate(lines, 1) if len(words) != 2), None)
    found = {words[0]: words[-1].strip() for words in lines}
    if wrong is not None or not lines or len(found) < len(lines):
        what = f"entry {wrong} without it" if wrong else "a number twice" if lines else "an empty file"
        raise InsightError(f"{path}: expected lines of a number and what belongs to it, found {what}")
    return found
