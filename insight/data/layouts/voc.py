"""Pascal VOC: JPEGImages, ImageSets, SegmentationClass with a palette, Annotations in XML.

Held are the ids of the chosen splits; an image's XML is read when the image is.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from naming.words.lists import load_phrases
from sae.errors import InsightError

from ..decode import decode
from ..masks import VOID
from ..source import Item, bad_item
from .label_map import lookup, mask_of_numbers
from .layout import Layout, choose_splits, files_in, one_label, plain_path, read_lines

READABLE = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "television"}
"""What `naming/vocabularies/voc.txt` calls the classes that VOC's XML writes in one word."""


class Voc(Layout):
    """`voc:ROOT?split=train`, ROOT being VOCdevkit/VOC2012: 20 classes after "background", the border of objects void.

    split: lists of ImageSets (train, val, trainval, test), several with commas, train and val without it; set: whose
    lists, Segmentation (the default where it is there) or Main. The label is the one class of objects that the XML
    names; an image of several has none, and so has one without XML.
    """

    kind = "voc"
    options = ("split", "set")

    def __init__(self, root: Path | str, split: str | None = None, set: str | None = None) -> None:
        super().__init__(root)
        self.classes = ("background", *load_phrases("voc").phrases)
        sets = self.root / "ImageSets"
        chosen = set or ("Segmentation" if (sets / "Segmentation").is_dir() else "Main")
        lists = sets / plain_path(chosen, f"{self.kind}:{root}, set")
        there = [name.removesuffix(".txt") for name in files_in(lists, {".txt"})]
        splits = choose_splits(split, there, ("train", "val"), str(lists))
        self.asked = {"split": ",".join(splits), "set": chosen}
        self._table = lookup({number: number for number in range(len(self.classes))} | {VOID: -1})
        self._split: dict[str, str] = {}
        for name in splits:
            for number, line in enumerate(read_lines(lists / f"{name}.txt"), 1):
                if words := line.split():  # in lists of one class a number follows
                    place = f"{lists / name}.txt, line {number}"
                    id = f"JPEGImages/{plain_path(words[0], place)}.jpg"
                    if id in self._split:
                        raise InsightError(f"{place}: expected every image once, found {words[0]} again")
                    self._split[id] = name

    def ids(self) -> list[str]:
        """`JPEGImages/NAME.jpg` in the order of the lists."""
        return list(self._split)

    def item(self, id: str) -> Item:
        """The image of this id; one whose XML is damaged is not good."""
        if id not in self._split:
            raise self.unknown(id)
        stem = id.removeprefix("JPEGImages/").removesuffix(".jpg")
        about = self.root / "Annotations" / f"{stem}.xml"
        try:
            found = {element.text or "" for element in ElementTree.parse(about).iterfind("object/name")}
        except FileNotFoundError:
            found = set()
        except (ElementTree.ParseError, ValueError) as error:
            return bad_item(id, str(about), f"damaged ({error})")
        label = one_label({READABLE.get(name.strip(), name.strip()) for name in found} - {""})
        mask = mask_of_numbers(self.root / "SegmentationClass" / f"{stem}.png", self._table)
        return Item(id, label, self._split[id], partial(decode, self.root / id), mask)
