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

from .thrift import NotThrift, read_struct

_LINES = 1 << 16
_TIMES = 256  # a table of ours decodes to some 5 to 30 times its size
_AT_LEAST = 1 << 24
_HEADER = 1 << 15  # of a page: some twenty bytes, and its smallest and largest value
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3  # kinds of pages
_HEADS = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}  # which field of a page's header tells of its values
_ENCODINGS = {0, 2, 3, 8}  # plain; numbers in a dictionary, older and newer; runs


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
    except NotThrift:
        raise UnsafeFile("expected a parquet file, found something else") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UnsafeFile(f"expected a parquet file, found {str(error).partition(chr(10))[0][:200]}") from None


def _lines(path: Path, schema: pa.Schema, rows: int, room: int) -> Iterator[pa.RecordBatch]:
    room -= 4 * rows * len(schema) + _bytes_of_pages(path, rows)
    if room < 0:
        raise UnsafeFile(f"expected at most {_TIMES} times its size when decoded, found more")
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    coded = pa.dictionary(pa.int32(), pa.string())
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        found = file.schema_arrow
        if found.names != schema.names or found.types != [
            coded if pa.types.is_string(field.type) else field.type for field in schema
        ]:
            raise UnsafeFile(f"expected columns {schema.names}, found {str(found.names)[:200]}")
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


def _bytes_of_pages(path: Path, rows: int) -> int:
    """What all pages take, uncompressed; each column must have as many values as there are lines."""
    size, lines = 0, 0
    with path.open("rb") as file:
        for group in _listed(_footer(file), 4):
            count = _number(group, 3)
            lines += count
            for column in _listed(group, 1):
                of_column = column.get(3)
                if not isinstance(of_column, dict) or {8, 9} & column.keys():  # nothing, or in secret
                    raise UnsafeFile("expected columns of values, found something else")
                values = 0
                for taken, more in _pages(file, of_column):
                    size, values = size + taken, values + more
                if not values == _number(of_column, 5) == count:
                    raise UnsafeFile(f"expected {count} values in each column, found others")
    if lines != rows:
        raise UnsafeFile(f"expected {rows} lines, found {lines}")
    return size


def _footer(file: BinaryIO) -> dict[int, Any]:
    end = file.seek(0, 2)
    file.seek(max(0, end - 8))
    tail = file.read()
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > end - 8:
        raise UnsafeFile("expected a parquet file, found something else")
    file.seek(end - 8 - length)
    return read_struct(file.read(length))[0]


def _pages(file: BinaryIO, column: dict[int, Any]) -> Iterator[tuple[int, int]]:
    """(bytes uncompressed, values) of each page of a column, in the stretch of the file that the decoder will read."""
    if not _number(column, 5):  # no values, no pages
        return
    begin, first = _number(column, 9), column.get(11)
    if isinstance(first, int) and 0 < first < begin:  # of the dictionary
        begin = first
    end = begin + _number(column, 7)
    while begin < end:
        file.seek(begin)
        page, used = read_struct(file.read(min(_HEADER, end - begin)))
        kind, taken, stored = (_number(page, field) for field in (1, 2, 3))
        head = page.get(_HEADS[kind]) if kind in _HEADS else None
        if not isinstance(head, dict):
            raise UnsafeFile("expected pages of values, found something else")
        encoding = _number(head, 4 if kind == _DATA_2 else 2)
        if encoding not in _ENCODINGS:
            raise UnsafeFile(f"expected values that are plain or in a dictionary, found encoding {encoding}")
        begin += used + stored
        yield taken, 0 if kind == _DICTIONARY else _number(head, 1)
    if begin != end:
        raise UnsafeFile("expected pages inside the file, found one that is longer")


def _listed(struct: dict[int, Any], field: int) -> list[dict[int, Any]]:
    found = struct.get(field)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise UnsafeFile("expected groups of columns, found something else")
    return found


def _number(struct: dict[int, Any], field: int) -> int:
    found = struct.get(field)
    if type(found) is not int or found < 0:
        raise UnsafeFile("expected sizes and counts, found something else")
    return found
