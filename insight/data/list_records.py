"""The records of a file that lists images, one after the other from any of them on, in bounded memory.

A .txt has a path a line; .csv, .tsv, .jsonl and .parquet have a column `path` and may have `id`, `label`, `split` and
`mask`; without `path` the ids are the paths. Text is UTF-8. Where a record starts is a position: a byte in a text, a
row in a Parquet file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sae.errors import InsightError

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
MAX_LINE = 1 << 20
_ROWS = 1024  # of a Parquet file at a time


class Record(NamedTuple):
    """One image of a list. id: the path where the list gives none; the others None where it says nothing."""

    path: str
    id: str
    label: str | None = None
    split: str | None = None
    mask: str | None = None


def records(path: Path, position: int = 0) -> Iterator[tuple[Record, int]]:
    """Each record from a position on, with the position after it; position 0 is the first record.

    `InsightError` names the line (counted from the position) or row where the file is not as said.
    """
    try:
        yield from _rows(path, position) if path.suffix.lower() == ".parquet" else _lines(path, position)
    except OSError as error:
        raise InsightError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


class _Lines:
    """Lines of a text from a byte on; `at` is the byte after the last one that was given, `number` its number."""

    def __init__(self, path: Path, file: BinaryIO, position: int) -> None:
        self.path, self.file, self.at, self.number = path, file, position, 0
        file.seek(position)

    def __iter__(self) -> Iterator[str]:
        while line := self.file.readline(MAX_LINE + 1):
            self.number += 1
            if len(line) > MAX_LINE:
                raise self.error(f"a line of at most {MAX_LINE} bytes, found a longer one")
            try:
                text = line.decode("utf-8-sig" if self.at == 0 else "utf-8")
            except UnicodeDecodeError:
                raise self.error("UTF-8 text, found other bytes") from None
            self.at += len(line)
            yield text

    def error(self, expected: str) -> InsightError:
        return InsightError(f"{self.path}, line {self.number}: expected {expected}; correct the list")


def _lines(path: Path, position: int) -> Iterator[tuple[Record, int]]:
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        columns: list[str] = []
        if suffix in (".csv", ".tsv"):
            head = _Lines(path, file, 0)
            columns = next(_cells(head, suffix), [])
            if not {"path", "id"} & set(columns):
                raise head.error(f"a first line that names columns, one of them `path`, found {columns[:9]}")
            position = max(position, head.at)
        lines = _Lines(path, file, position)
        if suffix == ".txt":
            for line in lines:
                if name := line.rstrip("\r\n"):
                    yield Record(name, name), lines.at
        elif suffix == ".jsonl":
            for line in lines:
                if line.strip():
                    yield _record(_json(line, lines), lines.error), lines.at
        else:
            for cells in _cells(lines, suffix):
                if cells:
                    if len(cells) != len(columns):
                        raise lines.error(f"{len(columns)} cells, found {len(cells)}")
                    yield _record(dict(zip(columns, cells)), lines.error), lines.at


def _cells(lines: _Lines, suffix: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter="\t" if suffix == ".tsv" else ",", strict=True)
    except csv.Error as error:
        raise lines.error(f"cells with quotes that close ({error})") from None


def _json(line: str, lines: _Lines) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise lines.error("a JSON object")
    return values


def _rows(path: Path, position: int) -> Iterator[tuple[Record, int]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            columns = [name for name in Record._fields if name in file.schema_arrow.names]
            if not {"path", "id"} & set(columns):
                raise InsightError(f"{path}: expected a column `path`, found {file.schema_arrow.names[:9]}")
            first = 0  # row of the file at which the row group begins
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if first + rows > position:
                    row = first
                    for batch in file.iter_batches(_ROWS, row_groups=[group], columns=columns):
                        skip = max(0, position - row)
                        for number, values in enumerate(batch.slice(skip).to_pylist(), row + skip):
                            yield _record(values, _row_error(path, number)), number + 1
                        row += batch.num_rows
                first += rows
    except pyarrow.ArrowException as error:
        raise InsightError(f"{path}: expected a Parquet file, cannot be read ({str(error).splitlines()[0]})") from None


def _row_error(path: Path, row: int) -> Callable[[str], InsightError]:
    return lambda expected: InsightError(f"{path}, row {row}: expected {expected}; correct the list")


def _record(values: dict[str, Any], error: Callable[[str], InsightError]) -> Record:
    """What a line or row says, as text; empty is nothing."""
    found: dict[str, str | None] = {}
    for name in Record._fields:
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int, float, type(None))):
            raise error(f"text or a number as `{name}`, found {str(value)[:60]}")
        found[name] = None if value is None or value != value else str(value) or None  # NaN is a table's "nothing"
    path = found.pop("path")
    if "path" not in values:
        path = found["id"]
    if path is None or "\0" in path:
        raise error("a `path`, found none")
    return Record(path, found.pop("id") or path, **found)
