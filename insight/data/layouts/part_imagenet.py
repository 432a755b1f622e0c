"""PartImageNet: parts of objects in photographs of ImageNet, in COCO's form."""

from __future__ import annotations

import re
from functools import cached_property, partial
from pathlib import Path

from sae.errors import InsightError

from ..decode import decode
from ..place import FILE, FOLDER, found_at
from ..source import Item
from .class_names import class_names
from .coco_json import Picture, read_annotations
from .layout import Layout, choose_splits
from .regions import paint

SPLITS = ("train", "val", "test")
_SYNSET = re.compile(r"n\d{8}")


class PartImageNet(Layout):
    """`part-imagenet:ROOT?split=val`: the classes of the masks are the parts ("Quadruped Head"), all else is void.

    split: train, val or test, all that are there without it. Annotations are annotations/SPLIT/SPLIT.json,
    annotations/SPLIT.json or SPLIT.json; images lie in images/SPLIT or in SPLIT, or in a folder of their class there.
    The label is the class of the object, by the number of WordNet that the file's name begins with (`class_names`).
    """

    kind = "part-imagenet"

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        super().__init__(root)
        files = {name: file for name in SPLITS if (file := self._annotations(name)) is not None}
        splits = choose_splits(split, list(files), SPLITS, str(self.root / "annotations"))
        self.asked = {"split": ",".join(splits)}
        categories: dict[int, str] = {}
        self._known: dict[str, tuple[str, Picture]] = {}
        for name in splits:
            read = read_annotations(files[name])
            clash = next((id for id, said in read.categories.items() if categories.get(id, said) != said), None)
            if clash is not None:
                raise InsightError(
                    f"{files[name]}: expected the categories of the other splits, found {read.categories[clash]!a} as"
                    f" number {clash}, which is {categories[clash]!a} there"
                )
            categories |= read.categories
            folder = self._images(name)
            self._known |= {f"{folder}/{file}": (name, picture) for file, picture in read.pictures.items()}
        ids = sorted(categories)
        self.classes = tuple(categories[id] for id in ids)
        self._class_of = {id: number for number, id in enumerate(ids)}

    @cached_property
    def names(self) -> dict[str, str]:
        """What the class of each WordNet number is called."""
        found = (_SYNSET.match(Path(id).name) for id in self._known)
        return class_names(self.root, sorted({match.group() for match in found if match}))

    def ids(self) -> list[str]:
        """Paths of the images, sorted within each split."""
        return list(self._known)

    def item(self, id: str) -> Item:
        """The image of this id."""
        if id not in self._known:
            raise self.unknown(id)
        split, picture = self._known[id]
        synset = _SYNSET.match(Path(id).name)
        path = self.root / id
        if synset and found_at(path) != FILE:  # as ImageNet itself has them
            path = path.parent / synset.group() / path.name
        size = picture.height, picture.width
        mask = partial(paint, picture.regions, self._class_of, size, -1, str(path))
        return Item(id, self.names[synset.group()] if synset else None, split, partial(decode, path), mask)

    def _annotations(self, split: str) -> Path | None:
        """The file of a split, None where there is none."""
        below = self.root / "annotations"
        files = (below / split / f"{split}.json", below / f"{split}.json", self.root / f"{split}.json")
        return next((file for file in files if found_at(file) == FILE), None)

    def _images(self, split: str) -> str:
        folder = next((f for f in (f"images/{split}", split) if found_at(self.root / f) == FOLDER), None)
        if folder is None:
            raise InsightError(f"{self.root}: expected the images of split {split} in images/{split}, found none")
        return folder
