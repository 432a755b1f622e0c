"""Reading parquet files that may come from anybody, in memory that grows with the file and not with what it claims.

A parquet file of a few kilobytes can stand for terabytes: values are compressed, counted instead of repeated, given as
numbers in a dictionary, or as what they share with the one before. So before anything is decoded the header of every
page is read here (they say what a page takes and how it is encoded), and text is taken as a dictionary and numbers
until it is known how long it will be. What a file decodes to may be at most 256 times its size, or 16 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_LINES = 1 << 16
_TIMES = 256  # a table of ours decodes to some 5 to 30 times its size
_AT_LEAST = 1 << 24
_HEADER = 1 << 15  # of a page: some twenty bytes, and its smallest and largest value
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3  # kinds of pages
_HEADS = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}  # which field of a page's header tells of its values
_ENCODINGS = {0, 2, 3, 8}  # plain; numbers in a dictionary, older and newer; runs
_SMALL_INTEGERS = {4, 5, 6}
_DEEPEST = 4


class UnsafeFile(Exception):
    """What is wrong with a file, in a few words."""


def read_lines(path: Path, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    """The lines of a parquet file with exactly this schema (strings and int32) and number of lines, some thousand at a
    time.

    `UnsafeFile` if it is another file, holds text that is not UTF-8, or would take more memory than its size allows.
    """
    try:
        room = _TIMES * path.stat().st_size + _AT_LEAST
        yield from _lines(path, schema, rows, room)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UnsafeFile(f"expected a parquet file, found {str(error).partition(chr(10))[0][:200]}") from None


def _lines(path: Path, schema: pa.Schema, rows: int, room: int) -> Iterator[pa.RecordBatch]:
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    coded = pa.dictionary(pa.int32(), pa.string())
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        found = file.schema_arrow
        if found.names != schema.names or found.types != [
            coded if pa.types.is_string(field.type) else field.type for field in schema
        ]:
            raise UnsafeFile(f"expected columns {schema.names}, found {str(found.names)[:200]}")
        if file.metadata.num_rows != rows:
            raise UnsafeFile(f"expected {rows} lines, found {file.metadata.num_rows}")
        room -= 4 * rows * len(schema) + _bytes_of_pages(path, file.metadata)
        if room < 0:
            raise UnsafeFile(f"expected at most {_TIMES} times its size when decoded, found more")
        for batch in file.iter_batches(_LINES):
            batch.validate(full=True)
            missing = [f.name for f, column in zip(schema, batch.columns) if column.null_count and not f.nullable]
            if missing:
                raise UnsafeFile(f"expected a value in every line, found lines without {missing[0]}")
            columns = []
            for column in batch.columns:
                if pa.types.is_dictionary(column.type):
                    room -= pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0
                    if room < 0:
                        raise UnsafeFile(f"expected at most {_TIMES} times its size when decoded, found more")
                    column = column.dictionary_decode()
                columns.append(column)
            yield pa.record_batch(columns, schema=schema)


def _bytes_of_pages(path: Path, metadata: pq.FileMetaData) -> int:
    """What all pages take, uncompressed; each column must have as many values as there are lines."""
    size, lines = 0, 0
    with path.open("rb") as file:
        for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
            lines += group.num_rows
            for column in (group.column(number) for number in range(group.num_columns)):
                pages = list(_pages(file, *_stretch(column))) if column.num_values else []  # without values, no pages
                size += sum(taken for taken, _ in pages)
                if not column.num_values == sum(count for _, count in pages) == group.num_rows:
                    raise UnsafeFile(f"expected {group.num_rows} values in each column, found another number")
    if lines != metadata.num_rows:
        raise UnsafeFile(f"expected {metadata.num_rows} lines, found {lines}")
    return size


def _stretch(column: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Where the pages of a column begin and how many bytes they take, as the decoder sees it."""
    begin = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < begin:
        begin = column.dictionary_page_offset
    return begin, column.total_compressed_size


def _pages(file: BinaryIO, begin: int, size: int) -> Iterator[tuple[int, int]]:
    """(bytes uncompressed, values) of each page of a stretch of the file."""
    end = begin + size
    while begin < end:
        file.seek(begin)
        page, used = _struct(file.read(min(_HEADER, end - begin)), 0)
        kind, taken, stored = (page.get(field) for field in (1, 2, 3))
        head = page.get(_HEADS[kind]) if kind in _HEADS else None
        if not isinstance(head, dict) or not isinstance(taken, int) or not isinstance(stored, int):
            raise UnsafeFile("expected pages of values, found something else")
        count, encoding = head.get(1), head.get(4 if kind == _DATA_2 else 2)
        if encoding not in _ENCODINGS or not isinstance(count, int) or min(taken, stored, count) < 0:
            raise UnsafeFile(f"expected values that are plain or in a dictionary, found encoding {encoding}")
        begin += used + stored
        yield taken, 0 if kind == _DICTIONARY else count
    if begin != end:
        raise UnsafeFile("expected pages inside the file, found one that is longer")


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """A Thrift struct in the compact protocol, as page headers are: its numbers and structs by field; where it ends."""
    fields: dict[int, Any] = {}
    field = 0
    while True:
        head, at = _byte(data, at)
        kind, step = head & 15, head >> 4
        if not kind:
            return fields, at
        if step:
            field += step
        else:
            field, at = _integer(data, at)
        if kind in (1, 2):
            fields[field] = kind == 1
        elif kind in _SMALL_INTEGERS:
            fields[field], at = _integer(data, at)
        elif kind == 8:
            length, at = _varint(data, at)
            at += length
        elif kind == 12 and depth < _DEEPEST:
            fields[field], at = _struct(data, at, depth + 1)
        else:
            raise UnsafeFile("expected the header of a page, found something else")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte, at = _byte(data, at)
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise UnsafeFile("expected the header of a page, found something else")


def _byte(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise UnsafeFile("expected the header of a page, found the end of it")
    return data[at], at + 1
