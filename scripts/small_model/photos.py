"""The photographs of the shipped model: those it learns from, and those that are held out from it.

In: a folder with `coco-captions/images`, `imagenet-200x5/images/<wnid>`, `msrc` and `clothing-parts` (`images`,
`train.txt`, `test.txt`), and the demo's photographs, which are fetched. Out: {id: file}, and a folder of links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from insight.cache import FeatureCache, write_cache
from insight.data.demo import fetch_photos
from insight.data.folder import ImageFolder
from insight.demo import HELD_OUT as DEMO_HELD_OUT
from sae.errors import InsightError
from sae.files import read_json

HELD_OUT = Path(__file__).resolve().parents[2] / "insight" / "backbones" / "small" / "bridge" / "held_out.json"
WHOLE = {"coco": "coco-captions", "imagenet": "imagenet-200x5"}
"""Held out of these: what the bridge of `small` never saw."""
SPLIT = ("msrc", "clothing-parts")
"""Held out of these: their test split."""


def held_out_photos(data: Path) -> dict[str, Path]:
    """Photographs on which the model may be measured, and which it never sees."""
    listed = read_json(HELD_OUT)
    found = {f"{name}/{id}": data / folder / "images" / id for name, folder in WHOLE.items() for id in listed[name]}
    return found | _of_split(data, "test")


def training_photos(data: Path, work: Path) -> dict[str, Path]:
    """All others of the same sets, and the demo's (into `work`/demo) but those that the demo explains."""
    found = _of_split(data, "train")
    for name, folder in WHOLE.items():
        images = data / folder / "images"
        found |= {f"{name}/{id}": images / id for id in ImageFolder(images).ids()}
    birds = fetch_photos(work / "demo", DEMO_HELD_OUT).photos
    found |= {f"birds/{id}": birds / id for id in ImageFolder(birds).ids()}
    held_out = held_out_photos(data)
    return {id: found[id] for id in sorted(found) if id not in held_out}


def linked(photos: Mapping[str, Path], folder: Path) -> Path:
    """A folder with a link of each photograph's id to it."""
    for id, file in photos.items():
        link = folder / id
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(file.resolve())
    return folder


def cached(photos: Mapping[str, Path], links: Path, folder: Path, device: str) -> FeatureCache:
    """The cache of these photographs in `folder`: what is there if it is finished, else made from their `links`.

    `InsightError` if it is one of other photographs.
    """
    if not (folder / "manifest.json").exists():
        from insight.backbones import load

        write_cache(links, load("small", device=device), folder)
    cache = FeatureCache.open(folder)
    there = {*cache.index["id"].to_pylist(), *cache.skipped["id"].to_pylist()}
    if there != set(photos):
        raise InsightError(
            f"{folder}: expected a cache of {len(photos):,} photographs, found {len(there - set(photos)):,} others and"
            f" {len(set(photos) - there):,} missing; give another folder"
        )
    return cache


def counts(photos: Mapping[str, Path]) -> dict[str, int]:
    """How many photographs each set gives."""
    return dict(sorted(Counter(id.split("/")[0] for id in photos).items()))


def _of_split(data: Path, split: str) -> dict[str, Path]:
    found = {}
    for name in SPLIT:
        source = ImageFolder(data / name / "images", splits={split: data / name / f"{split}.txt"})
        found |= {f"{name}/{id}": source.path / id for id in source.ids() if source.split(id) == split}
    return found
