"""`index.parquet`: one line per image, in the order of the tokens: id, source, label, split, shard, row.

`shard` is the position in the manifest's list of shards, `row` the image's place in that shard; label and split are
null where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sae.errors import InsightError
from sae.files import atomic_write

from .manifest import INDEX, Manifest, StoredFile
from .shard import sha256_of

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
_BYTES_PER_IMAGE = 1 << 13  # an id is a path, at most 4096 bytes; more than this is not an index but an attack


def write_index(
    folder: Path, ids: Sequence[str], labels: Sequence[str | None], source: str, rows_per_shard: Sequence[int]
) -> StoredFile:
    """Write the index of a cache whose images all come from one source and have no split."""
    shard, row = _places(rows_per_shard)
    columns = [ids, [source] * len(ids), labels, [None] * len(ids), shard, row]
    table = pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)
    with atomic_write(folder / INDEX) as temporary:
        pq.write_table(table, temporary)
    return StoredFile(INDEX, (folder / INDEX).stat().st_size, sha256_of(folder / INDEX))


def read_index(folder: Path, manifest: Manifest) -> pa.Table:
    """Read the index and check it against the manifest: bytes, columns, one line per image, each id once."""
    path = folder / INDEX
    found = sha256_of(path)
    if found != manifest.index.sha256:
        raise _wrong(path, f"SHA-256 {manifest.index.sha256[:12]}", found[:12])
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
            if metadata.num_rows != manifest.n_images or size > manifest.n_images * _BYTES_PER_IMAGE + (1 << 20):
                raise _wrong(path, f"{manifest.n_images} images", f"{metadata.num_rows} in {size} bytes")
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise _wrong(path, "a parquet file", str(error).partition("\n")[0]) from None
    if table.schema.names != SCHEMA.names or table.schema.types != SCHEMA.types:
        raise _wrong(path, f"columns {SCHEMA.names}", str(table.schema.names))
    shard, row = _places([stored.rows for stored in manifest.shards])
    if not (np.array_equal(table["shard"].to_numpy(), shard) and np.array_equal(table["row"].to_numpy(), row)):
        raise _wrong(path, "the images in the order of the shards", "another order")
    if table["id"].null_count or len(table["id"].unique()) < len(table):
        raise _wrong(path, "each id once", "ids that are missing or doubled")
    return table


def _places(rows_per_shard: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    shard = np.repeat(np.arange(len(rows_per_shard), dtype=np.int32), rows_per_shard)
    row = np.concatenate([np.arange(rows, dtype=np.int32) for rows in rows_per_shard])
    return shard, row


def _wrong(path: Path, expected: str, found: str) -> InsightError:
    return InsightError(f"{path}: damaged index: expected {expected}, found {found}; make the cache again")
