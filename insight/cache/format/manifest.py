"""`manifest.json`: what a feature cache is, written last, so that a folder with a manifest is a whole cache.

Reading one trusts nothing: every field is checked for type and range before it is used, file names can only name files
of this folder, and whatever is wrong is an `InsightError` that names the field.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from sae.errors import InsightError
from sae.files import read_json, write_json

from .dtypes import DTYPES
from .shard import Form

FORMAT = "insight-cache"
VERSION = 2
FILE = "manifest.json"
UNFINISHED = "unfinished"  # folder in which a cache in the making keeps what it needs to go on
INDEX = "index.parquet"
SKIPPED = "skipped.parquet"
_SHARD = re.compile(r"shard-[0-9]{5,9}(-[0-9]{5,9})?\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 1 << 26  # of a list of 380,000 shards
_MIN_ITEM = 16  # bytes an item on average, after the first _FREE: fewer are not a manifest, but many objects in memory
_FREE = 1 << 18
_DEEPEST = 8


@dataclass(frozen=True)
class StoredFile:
    """A file of the cache, its size and the SHA-256 of its bytes."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class StoredShard(StoredFile):
    """A shard and how many images it holds."""

    rows: int


@dataclass(frozen=True)
class StoredTable(StoredFile):
    """A columnar file and how many lines it has."""

    rows: int


@dataclass(frozen=True)
class Manifest:
    """backbone: name, fingerprint (SHA-256), dim, grid [h, w], image_size, description, as a model's config has it;
    dtype: of the patches; tokens_per_image: patches kept of each image, all h * w or fewer; classes: names of the
    classes that patches are marked with, () where images have no masks; shards: in the order of the images; index: a
    line an image; skipped: a line for each image that gave no features; sources: name, kind and place of where images
    came from; settings: how it was written (what a rerun must repeat).
    """

    backbone: dict[str, Any]
    dtype: str
    tokens_per_image: int
    classes: tuple[str, ...]
    shards: tuple[StoredShard, ...]
    index: StoredTable
    skipped: StoredTable
    sources: tuple[dict[str, str], ...]
    settings: dict[str, Any]

    @property
    def n_images(self) -> int:
        """Images in the cache."""
        return sum(shard.rows for shard in self.shards)

    @property
    def photo_folder(self) -> Path | None:
        """The folder of photographs that the images came from, if it was one folder and that is still there."""
        places = [Path(source["place"]) for source in self.sources if source["kind"] == "folder"]
        return places[0] if len(places) == len(self.sources) == 1 and places[0].is_dir() else None

    @property
    def form(self) -> Form:
        """Of its shards."""
        fewer = self.tokens_per_image < self.backbone["grid"][0] * self.backbone["grid"][1]
        return Form(self.tokens_per_image, self.backbone["dim"], self.dtype, fewer, bool(self.classes))

    def to_json(self) -> dict[str, Any]:
        """What `manifest.json` holds."""
        counts = {"images": self.n_images, "tokens": self.n_images * self.tokens_per_image}
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {"format": FORMAT, "format_version": VERSION, "counts": counts, **fields}

    def write(self, folder: Path) -> None:
        """Write `manifest.json`; from then on the folder is a cache."""
        write_json(folder / FILE, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check `manifest.json`. It says what ought to be there; the shards themselves are not looked at."""
        path = folder / FILE
        try:
            size = path.stat().st_size
            if size > _MAX_BYTES or not path.is_file():  # a pipe or a device has no end
                raise InsightError(f"{path}: expected a file of at most {_MAX_BYTES} bytes, found {size} of something")
            items = sum(map(path.read_bytes().count, (b",", b"[", b"{")))
            value = read_json(path) if items <= _FREE + size // _MIN_ITEM else None
        except OSError as error:
            raise InsightError(
                f"{path}: cannot be read ({error.strerror}); put it back or make the cache again"
            ) from None
        except InsightError:
            raise
        except (ValueError, RecursionError):  # a number of 10,000 digits, a thousand brackets
            value = None
        if value is None or not _is_plain(value, _DEEPEST):
            raise InsightError(f"{path}: expected a cache's manifest, found other JSON; make the cache again")
        return _Checker(path).manifest(value)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether JSON can be written again and shown: not deep, its numbers finite, its text whole characters."""
    if isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(item, depth - 1) for item in inner)
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    return not isinstance(value, float) or math.isfinite(value)


class _Checker:
    """Takes fields out of untrusted JSON; every complaint names the file and the field."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def manifest(self, value: Any) -> Manifest:
        if self.of(value, "", dict).get("format") != FORMAT:
            self.fail("format", f'"{FORMAT}"', value.get("format"))
        if value.get("format_version") != VERSION:
            self.fail("format_version", f"{VERSION} (another version of insight wrote it)", value.get("format_version"))
        dtype = self.of(value.get("dtype"), "dtype", str)
        if dtype not in DTYPES:
            self.fail("dtype", f"one of {', '.join(DTYPES)}", dtype)
        backbone = self.backbone(value.get("backbone"))
        patches = backbone["grid"][0] * backbone["grid"][1]
        result = Manifest(
            backbone=backbone,
            dtype=dtype,
            tokens_per_image=self.number(value.get("tokens_per_image"), "tokens_per_image", 1, patches),
            classes=self.names(value.get("classes"), "classes"),
            shards=tuple(self.shard(entry) for entry in self.of(value.get("shards"), "shards", list)),
            index=self.table(value.get("index"), "index", INDEX),
            skipped=self.table(value.get("skipped"), "skipped", SKIPPED),
            sources=self.texts(value.get("sources"), "sources", {"name", "kind", "place"}),
            settings=self.of(value.get("settings"), "settings", dict),
        )
        names = {shard.file for shard in result.shards}
        if not names or len(names) < len(result.shards):
            self.fail("shards", "at least one shard, each listed once", f"{len(result.shards)} with {len(names)} names")
        counts = self.of(value.get("counts"), "counts", dict)
        for field, number in (("images", result.n_images), ("tokens", result.n_images * result.tokens_per_image)):
            if counts.get(field) != number:
                self.fail(f"counts.{field}", f"{number} as the lists say", counts.get(field))
        if result.index.rows != result.n_images:
            self.fail("index.rows", f"{result.n_images}, one an image", result.index.rows)
        return result

    def backbone(self, value: Any) -> dict[str, Any]:
        entry = self.of(value, "backbone", dict)
        grid = self.of(entry.get("grid"), "backbone.grid", list)
        if len(grid) != 2:
            self.fail("backbone.grid", "two numbers [h, w]", grid)
        return entry | {
            "name": self.of(entry.get("name"), "backbone.name", str),
            "description": self.of(entry.get("description"), "backbone.description", str),
            "fingerprint": self.match(entry.get("fingerprint"), "backbone.fingerprint", _SHA256),
            "dim": self.number(entry.get("dim"), "backbone.dim", 1, 1 << 20),
            "grid": [self.number(side, "backbone.grid", 1, 1 << 12) for side in grid],
            "image_size": self.number(entry.get("image_size"), "backbone.image_size", 1, 1 << 20),
        }

    def shard(self, value: Any) -> StoredShard:
        entry = self.of(value, "shards", dict)
        stored = self.stored(entry, "shards", _SHARD)
        return StoredShard(**asdict(stored), rows=self.number(entry.get("rows"), "shards.rows", 1, 1 << 31))

    def table(self, value: Any, field: str, name: str) -> StoredTable:
        entry = self.of(value, field, dict)
        stem, _, suffix = name.partition(".")
        stored = self.stored(entry, field, re.compile(rf"{stem}(-\d{{5,9}})?\.{suffix}"))  # numbered by appended images
        return StoredTable(**asdict(stored), rows=self.number(entry.get("rows"), f"{field}.rows", 0, 1 << 40))

    def names(self, value: Any, field: str) -> tuple[str, ...]:
        entries = self.of(value, field, list)
        if not all(isinstance(name, str) for name in entries) or len(entries) > 1 << 15:
            self.fail(field, f"at most {1 << 15} names", entries)
        return tuple(entries)

    def stored(self, entry: dict[str, Any], field: str, name: re.Pattern[str]) -> StoredFile:
        return StoredFile(
            file=self.match(entry.get("file"), f"{field}.file", name),
            bytes=self.number(entry.get("bytes"), f"{field}.bytes", 1, 1 << 50),
            sha256=self.match(entry.get("sha256"), f"{field}.sha256", _SHA256),
        )

    def texts(self, value: Any, field: str, keys: set[str]) -> tuple[dict[str, str], ...]:
        entries = self.of(value, field, list)
        for entry in entries:
            good = isinstance(entry, dict) and keys <= entry.keys()
            if not (good and all(isinstance(text, str) for text in entry.values())):
                self.fail(field, f"entries of text with {sorted(keys)}", entry)
        return tuple(entries)

    def of(self, value: Any, field: str, kind: type) -> Any:
        if not isinstance(value, kind):
            self.fail(field, f"a {kind.__name__}", value)
        return value

    def number(self, value: Any, field: str, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            self.fail(field, f"a whole number from {low} to {high}", value)
        return value

    def match(self, value: Any, field: str, pattern: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.fail(field, f"text of the form {pattern.pattern}", value)
        return value

    def fail(self, field: str, expected: str, found: Any) -> NoReturn:
        shown = repr(found)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        raise InsightError(
            f"{self.path}: {field or 'manifest'}: expected {expected}, found {shown}; make the cache again"
        )
