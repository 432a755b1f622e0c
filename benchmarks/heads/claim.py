"""One claim from one row: what it says, what it aims at, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
Claim = dict[str, Any]


def find(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def claim(what: str, row: Row, unit: str | None, *, least: float | None = None, most: float | None = None) -> Claim:
    """The claim of a row's value; with a target it holds by the value, and the interval says how surely.

    A figure that could not be taken (None, NaN) never holds.
    """
    value = row["value"]
    target = None if least is None and most is None else f"at least {least:g}" if most is None else f"at most {most:g}"
    known = value is not None and value == value
    holds = None if target is None else bool(known and (least is None or value >= least))
    if most is not None:
        holds = bool(known and value <= most)
    found = {"claim": what, "value": value, "unit": unit, "target": target, "holds": holds}
    return {**found, "interval": row["interval"]}
