"""COCO and COCO-Stuff: photographs with objects, with stuff, or panoptic.

The annotations of a split are read once and held packed (`coco_json`); those of COCO-Stuff are files, of which only the
names are held.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from naming.words.lists import load_phrases
from sae.errors import InsightError

from ..decode import BadImage, decode, opened
from ..folder import SUFFIXES
from ..masks import VOID
from ..place import FILE, FOLDER, found_at
from ..source import Item
from .coco_json import Annotations, Picture, read_annotations
from .label_map import lookup, mask_of_numbers
from .layout import Layout, choose_splits, files_in, one_label
from .regions import paint

UNUSED_THINGS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
"""Ids of COCO's first 91 categories that no annotation has; from 92 to 182 stuff follows."""
Mask = Callable[[], np.ndarray] | None


class Coco(Layout):
    """`coco:ROOT?split=val2017&masks=things`: images in SPLIT or images/SPLIT, JSON files in annotations.

    split: several with commas, all that have such masks without it; an image's split is said without the year. masks:

    - things: instances_SPLIT.json; "background" and the 80 classes. Where objects overlap the one of fewest pixels is
      on top; a crowd is of its class.
    - stuff: COCO-Stuff's PNG of 80 things and 91 stuffs, stuffthingmaps/SPLIT (in ROOT or in ROOT/annotations, also
      under its archive's name stuffthingmaps_trainval2017), 255 void; classes named as `coco-stuff.txt` has them.
    - panoptic: panoptic_SPLIT.json and its PNGs; names without "-merged", "-other" and "-stuff".

    The label is the one category that the JSON says of an image; an image of several or of none has none.
    """

    kind = "coco"
    options = ("split", "masks")

    def __init__(self, root: Path | str, split: str | None = None, masks: str = "things") -> None:
        super().__init__(root)
        if masks not in ("things", "stuff", "panoptic"):
            raise InsightError(
                f"{self.kind}:{root}: expected masks=things, stuff or panoptic, found masks={masks[:40]}"
            )
        self._masks = masks
        self._below = self.root / "annotations"
        there = self._stuff_splits() if masks == "stuff" else self._json_splits()
        splits = choose_splits(split, sorted(there), sorted(there), f"{self.root}, masks={masks}")
        self.asked = {"split": ",".join(splits), "masks": masks}
        self._known: dict[str, tuple[str, Picture | None]] = {}
        self._categories: dict[int, str] = {}
        for name in splits:
            folder = self._images(name)
            if masks == "stuff":
                self._known |= {f"{folder}/{file}": (name, None) for file in files_in(self.root / folder, SUFFIXES)}
            else:
                read = read_annotations(there[name])
                self._take_categories(read, there[name])
                self._known |= {f"{folder}/{file}": (name, picture) for file, picture in read.pictures.items()}
        if masks == "stuff":
            self.classes = load_phrases("coco-stuff").phrases
            ids = [id for id in range(1, 183) if id not in UNUSED_THINGS]
            self._table = lookup({id - 1: number for number, id in enumerate(ids)} | {VOID: -1})
            self._folders = there
        else:
            names = tuple(self._categories.values())
            self.classes = ("background", *names) if masks == "things" else _readable(names)
            first = 1 if masks == "things" else 0
            self._class_of = {id: number for number, id in enumerate(self._categories, first)}

    def ids(self) -> list[str]:
        """Paths of the images, such as `val2017/000000000139.jpg`, sorted within each split."""
        return list(self._known)

    def item(self, id: str) -> Item:
        """The image of this id."""
        if id not in self._known:
            raise self.unknown(id)
        split, picture = self._known[id]
        load = partial(decode, self.root / id)
        said = split.rstrip("0123456789") or split
        if picture is None:
            mask: Mask = mask_of_numbers(self._folders[split] / f"{Path(id).stem}.png", self._table)
            return Item(id, None, said, load, mask)
        shown = set(picture.segments.values()) if picture.segments else {region.category for region in picture.regions}
        label = one_label({self._name(category) for category in shown})
        return Item(id, label, said, load, self._mask(split, picture, str(self.root / id)))

    def _mask(self, split: str, picture: Picture, place: str) -> Mask:
        size = picture.height, picture.width
        if self._masks == "things":
            return partial(paint, picture.regions, self._class_of, size, 0, place)
        if picture.segments is None:
            return None
        below = [folder / f"panoptic_{split}" / picture.segments_file for folder in (self._below, self.root)]
        path = next((path for path in below if found_at(path) == FILE), None)
        return None if path is None else partial(_panoptic, path, picture.segments, self._class_of)

    def _name(self, category: int) -> str:
        return self.classes[self._class_of[category]]

    def _take_categories(self, read: Annotations, path: Path) -> None:
        """Every split must have the same: a class would mean two things otherwise."""
        if self._categories and self._categories != read.categories:
            raise InsightError(f"{path}: expected the categories of the other splits, found others; open it by itself")
        self._categories = read.categories

    def _json_splits(self) -> dict[str, Path]:
        """The JSON of each split that has one of these masks."""
        start = "instances_" if self._masks == "things" else "panoptic_"
        files = files_in(self._below, {".json"}) if found_at(self._below) == FOLDER else []
        return {f[len(start) : -len(".json")]: self._below / f for f in files if f.startswith(start)}

    def _stuff_splits(self) -> dict[str, Path]:
        """The folder of each split's PNGs."""
        for below in (self.root, self._below):
            for name in ("stuffthingmaps", "stuffthingmaps_trainval2017"):
                if (folder := below / name).is_dir():
                    return {entry.name: entry for entry in folder.iterdir() if entry.is_dir()}
        return {}

    def _images(self, split: str) -> str:
        folder = next((f for f in (split, f"images/{split}") if found_at(self.root / f) == FOLDER), None)
        if folder is None:
            raise InsightError(f"{self.root}: expected the images of split {split} in {split} or images/{split}")
        return folder


def _panoptic(path: Path, segments: dict[int, int], class_of: dict[int, int]) -> np.ndarray:
    """The class of each pixel [H, W] int16: the segment is red + 256 green + 65,536 blue, 0 is void."""
    with opened(path, str(path)) as image:
        if image.mode not in ("RGB", "RGBA"):
            raise BadImage(path, f"expected a panoptic mask with three numbers a pixel, found mode {image.mode}")
        pixels = np.asarray(image.convert("RGB")).astype(np.int64)
    found, place = np.unique(pixels @ np.array([1, 256, 65536]), return_inverse=True)
    unknown = [segment for segment in found.tolist() if segment and segment not in segments]
    if unknown:
        raise BadImage(path, f"expected segments that its JSON lists, found segment {unknown[0]}")
    classes = [class_of[segments[segment]] if segment else -1 for segment in found.tolist()]
    return np.array(classes, dtype=np.int16)[place].reshape(pixels.shape[:2])


def _readable(names: tuple[str, ...]) -> tuple[str, ...]:
    """Panoptic names as words ("sky-other-merged" is "sky"); those that would be alike stay as they are."""
    short = []
    for name in names:
        for end in ("-merged", "-other", "-stuff"):
            name = name.removesuffix(end)
        short.append(name.replace("-", " "))
    return tuple(s if short.count(s) == 1 else name for s, name in zip(short, names))
