"""ADE20K's scene parsing (ADEChallengeData2016): 150 classes of every pixel, a scene of every image.

Held are the names of the images and, where the set says them, their scenes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from naming.words.lists import load_phrases
from sae.errors import InsightError

from ..decode import decode
from ..folder import SUFFIXES
from ..place import FILE, found_at
from ..source import Item
from .label_map import lookup, mask_of_numbers
from .layout import Layout, choose_splits, files_in, read_lines

SCENES = "sceneCategories.txt"


class Ade20k(Layout):
    """`ade20k:ROOT?split=validation`, ROOT being ADEChallengeData2016.

    split: training or validation, both without it. Masks are annotations/SPLIT/NAME.png, 0 void and 1 to 150 the
    classes, in the order of `naming/vocabularies/ade150.txt`. The label is the scene that sceneCategories.txt says.
    """

    kind = "ade20k"

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        super().__init__(root)
        images = self.root / "images"
        there = [entry.name for entry in images.iterdir() if entry.is_dir()] if images.is_dir() else []
        self.splits = choose_splits(split, there, ("training", "validation"), str(images))
        self.asked = {"split": ",".join(self.splits)}
        self.classes = load_phrases("ade150").phrases
        self._table = lookup({0: -1} | {number + 1: number for number in range(len(self.classes))})
        self._split = {f"images/{s}/{name}": s for s in self.splits for name in files_in(images / s, SUFFIXES)}
        self._scenes = _scenes(self.root / SCENES)

    def ids(self) -> list[str]:
        """`images/SPLIT/NAME.jpg`, sorted within each split."""
        return list(self._split)

    def item(self, id: str) -> Item:
        """The image of this id."""
        if id not in self._split:
            raise self.unknown(id)
        split, stem = self._split[id], Path(id).stem
        mask = mask_of_numbers(self.root / "annotations" / split / f"{stem}.png", self._table)
        return Item(id, self._scenes.get(stem), split, partial(decode, self.root / id), mask)


def _scenes(path: Path) -> dict[str, str]:
    """The scene of each image, by its name without suffix; none where there is no such file."""
    if found_at(path) != FILE:
        return {}
    lines = [line.split() for line in read_lines(path) if line.strip()]
    wrong = next((number for number, words in enumerate(lines, 1) if len(words) != 2), None)
    if wrong is not None:
        found = " ".join(lines[wrong - 1])[:60]
        raise InsightError(f"{path}, entry {wrong}: expected the name of an image and of a scene, found {found!a}")
    return {name: scene.replace("_", " ") for name, scene in lines}
