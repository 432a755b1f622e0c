"""Tables are read as they were written, however they were; what is no such table is refused and says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insight.cache.format.parquet import UnsafeFile, read_lines

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
HOW: list[dict[str, Any]] = [
    {},
    {"compression": "none", "use_dictionary": False},
    {"compression": "zstd", "data_page_version": "2.0"},
    {"compression": "gzip", "row_group_size": 77},
    {"compression": "none", "data_page_size": 1, "write_batch_size": 3},
    {"compression": "lz4", "write_statistics": False, "store_schema": False, "version": "1.0"},
    {"use_dictionary": ["label"], "dictionary_pagesize_limit": 100, "write_page_index": True},
    {"write_page_checksum": True, "row_group_size": 1000},
]


def table(rows: int) -> pa.Table:
    rng = np.random.default_rng()
    labels = np.array(["", "é", "a long label " * 20, None], dtype=object)[rng.integers(0, 4, rows)]
    ids = [f"{number}/{rng.integers(1000)}" for number in range(rows)]
    return pa.table({"id": ids, "label": labels.tolist(), "row": rng.integers(-9, 9, rows, np.int32)}, schema=SCHEMA)


def read(path: Path, rows: int) -> pa.Table:
    return pa.Table.from_batches(read_lines(path, SCHEMA, rows), SCHEMA)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("rows", [0, 1, 500])
def test_what_is_written_is_read(tmp_path: Path, how: dict[str, Any], rows: int) -> None:
    written = table(rows)
    pq.write_table(written, tmp_path / "x.parquet", **how)
    assert read(tmp_path / "x.parquet", rows).equals(written)


def test_many_lines_come_in_pieces(tmp_path: Path) -> None:
    written = table(150_000)
    pq.write_table(written, tmp_path / "x.parquet")
    pieces = list(read_lines(tmp_path / "x.parquet", SCHEMA, 150_000))
    assert max(len(piece) for piece in pieces) == 1 << 16
    assert pa.Table.from_batches(pieces).equals(written)


def refused(path: Path, rows: int = 5) -> str:
    with pytest.raises(UnsafeFile) as caught:
        read(path, rows)
    return str(caught.value)


def test_another_number_of_lines_is_refused(tmp_path: Path) -> None:
    pq.write_table(table(5), tmp_path / "x.parquet")
    assert refused(tmp_path / "x.parquet", 6) == "expected 6 lines, found 5"
    assert refused(tmp_path / "x.parquet", 4) == "expected 4 lines, found 5"


@pytest.mark.parametrize(
    "columns",
    [
        {"id": pa.string(), "label": pa.string()},
        {"id": pa.string(), "label": pa.string(), "row": pa.int64()},
        {"id": pa.large_string(), "label": pa.string(), "row": pa.int32()},
        {"id": pa.binary(), "label": pa.string(), "row": pa.int32()},
        {"label": pa.string(), "id": pa.string(), "row": pa.int32()},
        {"id": pa.list_(pa.string()), "label": pa.string(), "row": pa.int32()},
        {"id": pa.struct({"id": pa.string()}), "label": pa.string(), "row": pa.int32()},
        {"id": pa.string(), "label": pa.string(), "row": pa.int32(), "more": pa.int32()},
    ],
)
def test_other_columns_are_refused(tmp_path: Path, columns: dict[str, pa.DataType]) -> None:
    nothing = pa.table({name: pa.nulls(5, kind) for name, kind in columns.items()})
    pq.write_table(nothing, tmp_path / "x.parquet")
    assert refused(tmp_path / "x.parquet").startswith("expected ")


def test_a_value_that_must_be_there_is_missed(tmp_path: Path) -> None:
    loose = pa.schema([pa.field(field.name, field.type) for field in SCHEMA])
    columns = table(5).to_pydict()
    pq.write_table(pa.table(columns | {"id": ["a", None, "c", "d", "e"]}, schema=loose), tmp_path / "x.parquet")
    assert refused(tmp_path / "x.parquet") == "expected a value in every line, found lines without id"


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_text_by_its_differences_is_refused(tmp_path: Path, encoding: str) -> None:
    """It may stand for far more than it takes, and that shows only when it is decoded."""
    how = {"use_dictionary": False, "column_encoding": {"id": encoding, "label": "PLAIN", "row": "PLAIN"}}
    pq.write_table(table(5), tmp_path / "x.parquet", **how)
    assert "expected values that are plain or in a dictionary, found encoding" in refused(tmp_path / "x.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"PAR1\x05\0\0\0PAR1", b"x" * 1000, b"\0" * 1000])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    assert refused(tmp_path / "x.parquet").startswith("expected ")
