"""What an unfinished cache remembers, so that the same command goes on where a killed one stopped.

A folder `unfinished/` beside the shards: `settings.json` (what was asked for), `parts.parquet` (part, item: what is to
be read, fixed when the run began), one `shard-*.json` per finished shard (its images, those that gave no features, its
checksum, whether its part ends there) and one `shard-*.log` per shard in the making (see `batches`). Each but the logs
appears whole or not at all, a shard's note after the shard; the folder goes when the manifest is there.

Part P becomes `shard-P`, `shard-P-1`, `shard-P-2` and so on (five digits each), one for every `shard_images` images
that were read, good or bad. Whoever writes a part needs to know of nothing but that part.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sae.errors import InsightError
from sae.files import atomic_write, read_json, write_json

from ..format.manifest import UNFINISHED, StoredShard
from .batches import Seen

_SETTINGS = "settings.json"
_OF_PARTS = pa.schema([pa.field("part", pa.int64(), nullable=False), pa.field("item", pa.string(), nullable=False)])
_LINES = 1 << 16


@dataclass(frozen=True)
class Note:
    """A finished shard. shard: None if no image of it is good; next: number in the part of the image that comes after
    it; last: whether the part ends with it."""

    shard: StoredShard | None
    seen: Seen
    next: int
    last: bool


@dataclass(frozen=True)
class Journal:
    """The notes of one run in the folder `out`. asked: settings of its `Request`; first, n_parts: the parts' numbers;
    items: digest of what the source listed when the run began; base: SHA-256 of the manifest that images are appended
    to, None where there was none."""

    out: Path
    asked: dict[str, Any]
    first: int
    n_parts: int
    items: str
    base: str | None

    @property
    def folder(self) -> Path:
        """Where the notes are."""
        return self.out / UNFINISHED

    @property
    def parts_file(self) -> Path:
        """Which parts there are; runs with the same bytes in it have the same parts."""
        return self.folder / "parts.parquet"

    @classmethod
    def begin(
        cls,
        out: Path,
        asked: dict[str, Any],
        parts: Iterable[list[str]],
        *,
        first: int = 0,
        listed: ItemsDigest | None = None,
        base: str | None = None,
    ) -> Journal:
        """Note a new run; the settings are written last, so that a run without them has not begun.

        listed: digest of all that the source has when `parts`, some of it, have been taken; None where they are all.
        """
        folder = out / UNFINISHED
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        digest, n_parts = ItemsDigest(), 0
        with atomic_write(folder / "parts.parquet") as temporary, pq.ParquetWriter(temporary, _OF_PARTS) as file:
            waiting: list[tuple[int, str]] = []
            for number, part in enumerate(filter(None, parts), first):
                n_parts += 1
                digest.add(part)
                waiting += [(number, item) for item in part]
                if len(waiting) >= _LINES:
                    file.write_table(_lines(waiting))
                    waiting = []
            file.write_table(_lines(waiting))
        journal = cls(out, asked, first, n_parts, (listed or digest).hex(), base)
        fields = {name: value for name, value in vars(journal).items() if name != "out"}
        write_json(folder / _SETTINGS, fields)
        return journal

    @classmethod
    def resume(cls, out: Path) -> Journal | None:
        """The run that was begun in `out`, None if there is none; `InsightError` if another command began it."""
        path = out / UNFINISHED / _SETTINGS
        if not path.exists():
            return None
        fields = read_json(path)
        try:
            return cls(out, **fields)
        except TypeError:
            raise InsightError(
                f"{out}: holds what another command has begun; run that one again, write to another folder, or delete"
                " this one"
            ) from None

    def parts(self, rank: int = 0, world: int = 1) -> Iterator[tuple[int, list[str]]]:
        """Number and items of the parts whose number is `rank` modulo `world`, in order, a few at a time."""

        def lines() -> Iterator[tuple[int, str]]:
            with pq.ParquetFile(self.parts_file) as file:
                for batch in file.iter_batches(_LINES):
                    yield from zip(batch["part"].to_pylist(), batch["item"].to_pylist(), strict=True)

        try:
            for number, group in groupby(lines(), lambda line: line[0]):
                if number % world == rank:
                    yield number, [item for _, item in group]
        except pa.ArrowException as error:
            raise InsightError(
                f"{self.parts_file}: damaged ({str(error).splitlines()[0]}); delete {self.out} and begin again"
            ) from None

    def note(self, part: int, number: int) -> Note | None:
        """What is noted of a shard of a part; None when it is not finished, or somebody took it away."""
        path = self._note(part, number)
        if not path.exists():
            return None
        fields = read_json(path)
        shard = StoredShard(**fields["shard"]) if fields["shard"] else None
        if shard and not _has_size(self.out / shard.file, shard.bytes):
            return None
        return Note(shard, Seen(**fields["seen"]), fields["next"], fields["last"])

    def finish(self, part: int, number: int, note: Note) -> None:
        """Note that a shard is done; it is on disk already, if any of its images is good."""
        write_json(self._note(part, number), asdict(note))

    def notes(self) -> Iterator[Note]:
        """All notes of a run that is done, in the order of the parts."""
        for part in range(self.first, self.first + self.n_parts):
            for number in count():
                note = self.note(part, number)
                if note is None:
                    raise InsightError(
                        f"{self.out / shard_name(part, number)}.safetensors: vanished while the cache was written; run"
                        " the same command again"
                    )
                yield note
                if note.last:
                    break

    def log(self, part: int, number: int) -> Path:
        """The file of batches of a shard in the making."""
        return self.folder / f"{shard_name(part, number)}.log"

    def _note(self, part: int, number: int) -> Path:
        return self.folder / f"{shard_name(part, number)}.json"


def forget(out: Path) -> None:
    """The cache in `out` is whole, or nothing can come of its run. Without settings a run has not begun."""
    (out / UNFINISHED / _SETTINGS).unlink(missing_ok=True)
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)


class ItemsDigest:
    """SHA-256 of all that a source lists, wherever it cuts it into parts."""

    def __init__(self) -> None:
        self._digest = sha256()

    def add(self, items: Iterable[str]) -> None:
        """Some more items, in order."""
        for item in items:
            text = item.encode("utf-8", "surrogatepass")
            self._digest.update(len(text).to_bytes(8, "little") + text)

    def hex(self) -> str:
        """Of those added so far."""
        return self._digest.hexdigest()


def shard_name(part: int, number: int) -> str:
    """`shard-00003` for the first shard of part 3, then `shard-00003-00001` and so on."""
    return f"shard-{part:05d}" + (f"-{number:05d}" if number else "")


def _lines(waiting: list[tuple[int, str]]) -> pa.Table:
    columns = {"part": [part for part, _ in waiting], "item": [item for _, item in waiting]}
    return pa.table(columns, _OF_PARTS)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
