"""What dictionaries are trained on and what they are asked: photographs, their features, masks and captions.

In: a folder with `imagenet-200x5`, `coco-captions`, `msrc` and `clothing-parts` in the layouts of this project's
documents. Out: folders of links to the photographs of the training part and of the held-out part, their caches, and
`Asked`: which photographs of a cache are asked about, with the class of every patch and the captions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.probes.photos import HELD_OUT
from insight.backbones import CentreSquare
from insight.cache import FeatureCache
from insight.data.masks import class_map, decode_mask, read_classes
from sae.errors import InsightError
from sae.files import read_json

Part = Literal["train", "test"]
MASKED = {"MSRC-v2": "msrc", "clothing parts": "clothing-parts"}
NAMELESS = frozenset({"background"})
"""Labels that call nothing by its name: patches count as labelled, but no concept is asked for this word."""
GROUPS: dict[str, tuple[dict[str, str], ...]] = {
    "MSRC-v2": (
        {
            "animal": "cow horse sheep bird cat dog",
            "vehicle": "airplane car bicycle boat",
            "plant": "grass tree flower",
            "person": "face body",
        },
    ),
    "clothing parts": (
        {
            "footwear": "boots clogs flats heels loafers pumps sandals shoes sneakers wedges",
            "trousers": "jeans leggings pants shorts",
            "jewelry": "bracelet earrings necklace ring watch",
        },
        {
            "clothing": "blazer blouse bodysuit boots bra cape cardigan clogs coat dress flats gloves hat heels hoodie"
            " intimate jacket jeans jumper leggings loafers panties pants pumps romper sandals scarf shirt shoes shorts"
            " skirt sneakers socks stockings suit sweater sweatshirt swimwear t-shirt tie tights top vest wedges",
        },
        {"person": "*"},
    ),
}
"""What several labels of a set are together, level by level; * are all labels but the nameless. A concept may well
stand for animals at large, or for a person from head to toe: no single label of the sets covers that."""
MOST = {"coco": 300, "imagenet": 200}
"""Photographs without masks that are asked about, as many as there are held out."""


@dataclass(frozen=True)
class Masked:
    """Photographs of one data set whose every patch has a label, numbered among those asked about."""

    name: str
    labels: tuple[str, ...]
    """Those of the set, and behind them those of `GROUPS`."""
    photos: np.ndarray
    """int64 [p]."""
    classes: np.ndarray
    """int16 [p, t], a place in `labels` of the set's own; -1 void."""
    groupings: tuple[np.ndarray, ...]
    """int64 [own labels] each: what a label becomes, a place in `labels`, on each level; itself on the first."""


@dataclass(frozen=True)
class Captioned:
    """Photographs with captions, numbered among those asked about."""

    name: str
    photos: np.ndarray
    """int64 [p]."""
    captions: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Asked:
    """The photographs that names and relations are held against: `images` are their numbers in `cache`, ascending."""

    cache: FeatureCache
    images: np.ndarray
    masked: tuple[Masked, ...]
    captioned: Captioned
    counts: dict[str, int]
    """Photographs of each set; those of ImageNet have neither masks nor captions, and edges alone are held to them."""


def link_photos(data: Path, out: Path, part: Part, *, birds: Path | None = None, few: int | None = None) -> Path:
    """A folder of links: what a dictionary is trained on, or what no dictionary has seen. `few`: of each set so many.

    The held-out photographs of ImageNet and COCO are those that the bridge of `small` never saw either; of the masked
    sets the test split. `birds`: the photographs of the demo, for training.
    """
    held = read_json(HELD_OUT)
    for name, folder in (("imagenet", "imagenet-200x5"), ("coco", "coco-captions")):
        root = data / folder / "images"
        files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))
        wanted = [file for file in files if (file in set(held[name])) == (part == "test")]
        link_files(root, wanted[:few], out / name)
    for folder in MASKED.values():
        root = data / folder / "images"
        of_stem = {path.stem: path.name for path in root.iterdir()}
        stems = (data / folder / f"{part}.txt").read_text(encoding="utf-8").split()
        link_files(root, [of_stem[stem] for stem in stems[:few]], out / folder)
    if birds is not None and part == "train":
        link_files(birds, sorted(path.name for path in birds.glob("*.jpg"))[:few], out / "birds")
    return out


def ask(data: Path, cache: FeatureCache) -> Asked:
    """Which photographs of a cache are asked about: all with masks, 300 with captions, 200 of ImageNet.

    The cache is of a folder that `link_photos` made. `InsightError` when it has none of a set.
    """
    ids = [Path(id) for id in cache.index["id"].to_pylist()]
    folders = (*MASKED.values(), *MOST)
    of_set = {folder: [image for image, id in enumerate(ids) if id.parts[0] == folder] for folder in folders}
    missing = [folder for folder, images in of_set.items() if not images]
    if missing:
        raise InsightError(f"{cache.folder}: expected photographs of {', '.join(missing)}, found none; link them first")
    of_set |= {folder: of_set[folder][:most] for folder, most in MOST.items()}
    images = np.array(sorted(image for found in of_set.values() for image in found))
    masked = []
    for name, folder in MASKED.items():
        labels = read_classes(data / folder / "classes.txt")
        stems = [ids[image].stem for image in of_set[folder]]
        classes = [_patch_classes(data / folder / "masks" / f"{stem}.png", len(labels), cache) for stem in stems]
        photos = np.searchsorted(images, of_set[folder])
        names, groupings = group_labels(labels, GROUPS[name])
        masked.append(Masked(name, names, photos, np.stack(classes), groupings))
    captions = read_captions(data / "coco-captions" / "captions.json")
    captioned = Captioned(
        "COCO val2017",
        np.searchsorted(images, of_set["coco"]),
        tuple(captions[ids[image].name] for image in of_set["coco"]),
    )
    counts = {one.name: len(one.photos) for one in masked} | {captioned.name: len(captioned.photos)}
    return Asked(cache, images, tuple(masked), captioned, counts | {"ImageNet": len(of_set["imagenet"])})


def group_labels(
    labels: tuple[str, ...], levels: Sequence[Mapping[str, str]]
) -> tuple[tuple[str, ...], tuple[np.ndarray, ...]]:
    """Labels with those of their groups behind them, and what each becomes on each level (`Masked`)."""
    names, groupings = [*labels], [np.arange(len(labels))]
    for groups in levels:
        becomes = np.arange(len(labels))
        for name, members in groups.items():
            wanted = set(labels) - NAMELESS if members == "*" else set(members.split())
            if wanted - set(labels):
                raise InsightError(f"group {name}: expected labels of the set, found {sorted(wanted - set(labels))}")
            becomes[[label in wanted for label in labels]] = len(names)
            names.append(name)
        groupings.append(becomes)
    return tuple(names), tuple(groupings)


def read_captions(file: Path) -> dict[str, tuple[str, ...]]:
    """{file of a photograph: its captions} of a list in COCO's form."""
    listing = read_json(file)
    names = {image["id"]: image["file_name"] for image in listing["images"]}
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for entry in sorted(listing["annotations"], key=lambda entry: entry["id"]):
        found[names[entry["image_id"]]].append(entry["caption"].strip())
    return {name: tuple(captions) for name, captions in found.items()}


def _patch_classes(file: Path, n_classes: int, cache: FeatureCache) -> np.ndarray:
    with Image.open(file) as image:
        size = image.size
    view = CentreSquare(cache.encoder["image_size"])
    return class_map(decode_mask(file, str(file), n_classes), view.box(*size), cache.grid)


def link_files(root: Path, files: list[str], out: Path) -> None:
    """Links in `out` to these files below `root`; `InsightError` when there are none."""
    if not files:
        raise InsightError(f"{root}: expected photographs, found none of those asked for")
    for file in files:
        link = out / file
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to((root / file).resolve())
