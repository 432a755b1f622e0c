"""`index.parquet`, one line per image in the order of the tokens, and `skipped.parquet`, one per image that gave none.

index: id, source, label, split, shard, row; `shard` is the position in the manifest's list of shards, `row` the image's
place in that shard; label and split are null where there is none. skipped: id, source, reason. Both are written as they
come, a few thousand lines at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sae.errors import InsightError
from sae.files import atomic_write

from .manifest import INDEX, SKIPPED, Manifest, StoredTable
from .parquet import UnsafeFile, read_lines
from .shard import sha256_of

OF_IMAGES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
OF_SKIPPED = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("id", "source", "reason")])
_LINES = 1 << 16


def write_index(folder: Path, shards: Iterable[dict[str, list[Any]]], name: str = INDEX) -> StoredTable:
    """Write the index from the columns id, source, label and split of the images of each shard, in order."""

    def placed() -> Iterator[dict[str, list[Any]]]:
        for number, columns in enumerate(shards):
            rows = len(columns["id"])
            yield columns | {"shard": [number] * rows, "row": list(range(rows))}

    return _write(folder, name, OF_IMAGES, placed())


def write_skipped(folder: Path, parts: Iterable[dict[str, list[Any]]], name: str = SKIPPED) -> StoredTable:
    """Write the list of images that gave no features, from columns id, source and reason."""
    return _write(folder, name, OF_SKIPPED, parts)


def read_index(folder: Path, manifest: Manifest) -> pa.Table:
    """Read the index and check it against the manifest: bytes, columns, one line per image, each id once."""
    path = folder / manifest.index.file
    table = pa.Table.from_batches(_lines(path, manifest.index, OF_IMAGES), OF_IMAGES)
    rows = [stored.rows for stored in manifest.shards]
    shard = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    row = np.concatenate([np.arange(count, dtype=np.int32) for count in rows])
    if not (np.array_equal(table["shard"].to_numpy(), shard) and np.array_equal(table["row"].to_numpy(), row)):
        raise _wrong(path, "the images in the order of the shards", "another order")
    if len(table["id"].unique()) < len(table):
        raise _wrong(path, "each id once", "ids that are doubled")
    return table


def read_skipped(folder: Path, manifest: Manifest) -> pa.Table:
    """Read the list of images that gave no features, checked against the manifest."""
    return pa.Table.from_batches(stream_skipped(folder, manifest), OF_SKIPPED)


def stream_index(folder: Path, manifest: Manifest) -> Iterator[pa.RecordBatch]:
    """The lines of the index, some thousand at a time; checked like `read_index`, but for ids that are doubled."""
    path, seen = folder / manifest.index.file, 0
    ends = np.cumsum([stored.rows for stored in manifest.shards])
    for lines in _lines(path, manifest.index, OF_IMAGES):
        images = np.arange(seen, seen + len(lines))
        shard = np.searchsorted(ends, images, side="right")
        row = images - np.concatenate([[0], ends])[shard]
        if not (np.array_equal(lines["shard"], shard) and np.array_equal(lines["row"], row)):
            raise _wrong(path, "the images in the order of the shards", "another order")
        seen += len(lines)
        yield lines


def stream_skipped(folder: Path, manifest: Manifest) -> Iterator[pa.RecordBatch]:
    """The lines of `read_skipped`, some thousand at a time."""
    yield from _lines(folder / manifest.skipped.file, manifest.skipped, OF_SKIPPED)


def cut(lines: Iterator[pa.RecordBatch], sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The columns of the lines, in pieces of the given sizes, which together are all of them."""
    held: pa.Table | None = None
    for size in sizes:
        while held is None or len(held) < size:
            more = pa.Table.from_batches([next(lines)])
            held = more if held is None else pa.concat_tables([held, more])
        piece, held = held.slice(0, size), held.slice(size)
        yield {name: piece[name].combine_chunks() for name in piece.column_names}


def _write(folder: Path, name: str, schema: pa.Schema, parts: Iterable[dict[str, list[Any]]]) -> StoredTable:
    rows, held, waiting = 0, 0, []
    try:
        with atomic_write(folder / name) as temporary, pq.ParquetWriter(temporary, schema) as file:
            for columns in parts:
                waiting.append(pa.record_batch([pa.array(columns[f.name], f.type) for f in schema], schema=schema))
                rows, held = rows + waiting[-1].num_rows, held + waiting[-1].num_rows
                if held >= _LINES:
                    file.write_table(pa.Table.from_batches(waiting, schema))
                    held, waiting = 0, []
            file.write_table(pa.Table.from_batches(waiting, schema))
    except OSError as error:
        error.filename = error.filename or str(folder / name)  # a full disk does not say on which file it was noticed
        raise
    return StoredTable(name, (folder / name).stat().st_size, sha256_of(folder / name), rows)


def _lines(path: Path, stored: StoredTable, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if path.exists() and path.stat().st_size != stored.bytes:
        raise _wrong(path, f"{stored.bytes} bytes", f"{path.stat().st_size}")
    found = sha256_of(path)
    if found != stored.sha256:
        raise _wrong(path, f"SHA-256 {stored.sha256[:12]}", found[:12])
    try:
        yield from read_lines(path, schema, stored.rows)
    except UnsafeFile as error:
        raise InsightError(f"{path}: damaged: {error}; make the cache again") from None


def _wrong(path: Path, expected: str, found: str) -> InsightError:
    return InsightError(f"{path}: damaged: expected {expected}, found {found}; make the cache again")
