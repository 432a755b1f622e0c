"""The log of a shard in the making: batches as they were encoded, so that a killed run encodes none of them again.

A record is a head (bytes of the description, bytes of the tensors, BLAKE2b-128 of both), the description in JSON and
the tensors one behind the other in the order of the shard's form. Records are only ever appended; what a kill left of
the last one is cut off when the log is read. It is not synced: a kill loses nothing of it, and where a shard is done
within the half minute that systems keep written bytes to themselves it never reaches the disk. A power failure may
cost its end.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from ..format.shard import Form, bytes_of

_HEAD = struct.Struct("<QQ16s")


@dataclass
class Seen:
    """What became of some images, in order: those with features, and those without as {"id", "reason"}."""

    ids: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    @property
    def images(self) -> int:
        """How many, good and bad."""
        return len(self.ids) + len(self.skipped)

    def extend(self, more: Seen) -> None:
        """Those of `more` come after these."""
        self.ids += more.ids
        self.labels += more.labels
        self.splits += more.splits
        self.skipped += more.skipped


@dataclass(frozen=True)
class Batch:
    """Images that were encoded together. tensors: a shard's, but for the checks, with a row for each good image;
    next: number in its part of the image that comes after them."""

    seen: Seen
    tensors: dict[str, Tensor]
    next: int


class BatchLog:
    """The batches of one shard in the file `path`."""

    def __init__(self, path: Path, form: Form) -> None:
        self.path = path
        self.form = form

    def read(self) -> Iterator[Batch]:
        """The batches in it, one at a time; a record cut short, and what comes after it, is cut off."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            whole = 0
            while batch := self._record(file, size - whole):
                whole = file.tell()
                yield batch
        if whole < size:
            os.truncate(self.path, whole)

    def append(self, batches: Iterable[Batch]) -> None:
        """Add records at the end."""
        try:
            self._append(batches)
        except OSError as error:
            error.filename = error.filename or str(self.path)  # a full disk does not say on which file it was noticed
            raise

    def remove(self) -> None:
        """The shard is there: its log is of no use any more."""
        self.path.unlink(missing_ok=True)

    def _append(self, batches: Iterable[Batch]) -> None:
        with self.path.open("ab") as file:
            for batch in batches:
                text = json.dumps({"next": batch.next, **asdict(batch.seen)}).encode()
                pieces = [text, *(bytes_of(batch.tensors[name]) for name in tensors_of(self.form, 0))]
                body = sum(len(piece) for piece in pieces[1:])
                for piece in (_HEAD.pack(len(text), body, _digest(pieces)), *pieces):
                    file.write(piece)

    def _record(self, file: BinaryIO, left: int) -> Batch | None:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        length, body, digest = _HEAD.unpack(head)
        if length + body > left - _HEAD.size:
            return None
        text, raw = file.read(length), bytearray(file.read(body))
        if _digest([text, raw]) != digest:
            return None
        fields = json.loads(text)
        position = fields.pop("next")
        seen = Seen(**fields)
        return Batch(seen, _tensors(raw, self.form, len(seen.ids)), position)


def tensors_of(form: Form, rows: int) -> dict[str, tuple[torch.dtype, list[int]]]:
    """Type and shape of the tensors of a shard that come from the images: all but the checks."""
    return {name: kind for name, kind in form.tensors(rows).items() if name != "checks"}


def _tensors(raw: bytearray, form: Form, rows: int) -> dict[str, Tensor]:
    tensors, at = {}, 0
    for name, (dtype, shape) in tensors_of(form, rows).items():
        count = torch.Size(shape).numel()
        tensors[name] = (
            torch.frombuffer(raw, dtype=dtype, count=count, offset=at).view(shape)
            if count
            else (torch.empty(shape, dtype=dtype))
        )
        at += count * dtype.itemsize
    return tensors


def _digest(pieces: Iterable[bytes | bytearray]) -> bytes:
    digest = blake2b(digest_size=16)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
