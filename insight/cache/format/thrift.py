"""Structs in Thrift's compact protocol, as the headers and the footer of a parquet file are, from untrusted bytes.

Read here because pyarrow's own look at a damaged footer may end the process.
"""

from __future__ import annotations

from typing import Any

_DEEPEST = 12
_TRUE, _FALSE, _BYTE, _DOUBLE, _TEXT, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)


class NotThrift(Exception):
    """The bytes are no such struct, or end too early."""


def read_struct(data: bytes, at: int = 0, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The struct that begins at a byte, and where it ends: whole numbers, truths, structs and lists of them by the
    number of the field; None for text and fractions. `NotThrift`, also of a field that is there twice."""
    fields: dict[int, Any] = {}
    field = 0
    while True:
        head, at = _byte(data, at)
        kind = head & 15
        if not kind:
            return fields, at
        if head >> 4:
            field += head >> 4
        else:
            field, at = _integer(data, at)
        if field in fields:
            raise NotThrift
        if kind in (_TRUE, _FALSE):
            fields[field] = kind == _TRUE
        else:
            fields[field], at = _value(data, at, kind, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _integer(data, at)
    if kind in (_TRUE, _FALSE, _BYTE):  # of a list
        return _byte(data, at)
    if kind in (_TEXT, _DOUBLE):
        size, at = _varint(data, at) if kind == _TEXT else (8, at)
        if at + size > len(data):
            raise NotThrift
        return None, at + size
    if kind == _STRUCT and depth < _DEEPEST:
        return read_struct(data, at, depth + 1)
    if kind in (_LIST, _SET) and depth < _DEEPEST:
        head, at = _byte(data, at)
        count, at = (head >> 4, at) if head >> 4 < 15 else _varint(data, at)
        values = []
        for _ in range(count):  # each takes a byte at least, so a count that lies soon meets the end
            value, at = _value(data, at, head & 15, depth + 1)
            values.append(value)
        return values, at
    raise NotThrift


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte, at = _byte(data, at)
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise NotThrift


def _byte(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise NotThrift
    return data[at], at + 1
