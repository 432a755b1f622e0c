"""What an unfinished cache remembers, so that the same command goes on where a killed one stopped.

A folder `unfinished/` beside the shards: `settings.json` (what was asked for), `images.parquet` (the ids, fixed
when the run began) and one `shard-NNNNN.json` per finished shard (its images, the files that gave none, its
checksum). Each appears whole or not at all, a shard's note after the shard; the folder goes when the manifest is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sae.errors import InsightError
from sae.files import atomic_write, read_json, write_json

from .manifest import StoredShard

FOLDER = "unfinished"


@dataclass(frozen=True)
class Done:
    """A finished stretch of the list: its shard (None if no file in it gave an image), its images, its bad files."""

    shard: StoredShard | None
    ids: list[str]
    skipped: list[dict[str, str]]


class Journal:
    """The notes of one run. ids: all files of the run, in order; done: finished stretches by number."""

    def __init__(self, out: Path, ids: list[str], shard_images: int) -> None:
        self.out = out
        self.folder = out / FOLDER
        self.ids = ids
        self.shard_images = shard_images
        self.done: dict[int, Done] = {}

    @property
    def n_stretches(self) -> int:
        """How many stretches of `shard_images` files the list is cut into; each becomes one shard."""
        return -(-len(self.ids) // self.shard_images)

    def stretch(self, number: int) -> list[str]:
        """The ids of one stretch."""
        return self.ids[number * self.shard_images : (number + 1) * self.shard_images]

    @classmethod
    def begin(cls, out: Path, settings: dict[str, Any], ids: Sequence[str]) -> Journal:
        """Note a new run; the settings are written last, so that a run without them has not begun."""
        journal = cls(out, list(ids), settings["shard_images"])
        shutil.rmtree(journal.folder, ignore_errors=True)
        with atomic_write(journal.folder / "images.parquet") as temporary:
            pq.write_table(pa.table({"id": pa.array(journal.ids, pa.string())}), temporary)
        write_json(journal.folder / "settings.json", settings)
        return journal

    @classmethod
    def resume(cls, out: Path, settings: dict[str, Any]) -> Journal | None:
        """The run that was begun in `out`, None if there is none; `InsightError` if it had other settings."""
        folder = out / FOLDER
        if not (folder / "settings.json").exists():
            return None
        check_settings(out, read_json(folder / "settings.json"), settings)
        try:
            ids = pq.read_table(folder / "images.parquet")["id"].to_pylist()
        except (pa.ArrowException, OSError, KeyError):
            raise InsightError(f"{folder / 'images.parquet'}: cannot be read; delete {out} and begin again") from None
        journal = cls(out, ids, settings["shard_images"])
        for number in range(journal.n_stretches):
            journal._recall(number)
        return journal

    def finish(self, number: int, done: Done) -> None:
        """Note that a stretch is done; its shard, if any, is on disk already."""
        write_json(self._note(number), asdict(done))
        self.done[number] = done

    def remove(self) -> None:
        """The cache is whole, or nothing can come of this run: forget it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, number: int) -> Path:
        return self.folder / f"{shard_name(number)}.json"

    def _recall(self, number: int) -> None:
        if not self._note(number).exists():
            return
        note = read_json(self._note(number))
        shard = StoredShard(**note["shard"]) if note["shard"] else None
        if shard and not _has_size(self.out / shard.file, shard.bytes):
            return  # somebody took the shard away: it is made again
        self.done[number] = Done(shard, note["ids"], note["skipped"])


def shard_name(number: int) -> str:
    """`shard-00000` and so on."""
    return f"shard-{number:05d}"


def check_settings(out: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """`InsightError` that says what differs, if anything does."""
    there, wanted = _flat(found), _flat(asked)
    differing = [
        f"{name} is {there.get(name)!r} there and {wanted.get(name)!r} now"
        for name in sorted(there.keys() | wanted.keys())
        if there.get(name) != wanted.get(name)
    ]
    if differing:
        raise InsightError(
            f"{out}: holds a cache made with other settings: {'; '.join(differing)}; repeat those settings, write to"
            " another folder, or delete this one"
        )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
