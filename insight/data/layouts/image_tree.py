"""Photographs as ROOT/SPLIT/CLASS/...: ImageNet, Places365, Imagenette and their like.

The sorted ids are held, as of a folder: about 100 MB for ImageNet's 1.3 million.
"""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path

from ..decode import decode
from ..folder import ImageFolder
from ..source import Item
from .class_names import class_names
from .layout import Layout, choose_splits

USUAL = ("train", "training", "val", "valid", "validation", "test")


class ImageTree(Layout):
    """`images:ROOT?split=train`: the label is the class's readable name (`class_names`), the split its folder.

    split: folders of ROOT, several with commas; without it those that are called as splits are (`USUAL`). An image that
    lies in no folder of a class, as ImageNet's validation images come, has no label.
    """

    kind = "images"

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        super().__init__(root)
        there = [entry.name for entry in self.root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        self.splits = choose_splits(split, there, USUAL, str(self.root))
        self.asked = {"split": ",".join(self.splits)}
        self._folders = {split: ImageFolder(self.root / split) for split in self.splits}

    @cached_property
    def names(self) -> dict[str, str]:
        """What the class of each folder is called; those of all splits count, so that one means the same in each."""
        splits = {*self.splits, *(split for split in USUAL if (self.root / split).is_dir())}
        folders = {entry.name for split in splits for entry in (self.root / split).iterdir() if entry.is_dir()}
        return class_names(self.root, sorted(folders))

    @cached_property
    def _ids(self) -> list[str]:
        return [f"{split}/{id}" for split, folder in self._folders.items() for id in folder.ids()]

    def ids(self) -> list[str]:
        """`SPLIT/CLASS/FILE`, sorted within each split; `InsightError` for a split without images."""
        return self._ids

    def item(self, id: str) -> Item:
        """The image of this id; it need not be listed again for that, as long as the id is one of its splits'."""
        split, _, inside = id.partition("/")
        if split not in self._folders or not inside or {"", ".", ".."} & set(inside.split("/")):
            raise self.unknown(id)
        folder = self._folders[split].label(inside)
        label = None if folder is None else self.names.get(folder, folder)
        return Item(id, label, split, partial(decode, self.root / id))
