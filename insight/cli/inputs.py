"""Whether what a command is given is what it needs: asked before torch, a model or an encoder is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sae.errors import InsightError

from ..data.decode import opened
from ..data.place import FILE, FOLDER, found_at


def check_photos(photos: Sequence[Path]) -> None:
    """`InsightError` for the first path that is no photo, or (a `BadImage`) cannot be opened as one."""
    for photo in photos:
        if (found := found_at(photo)) != FILE:
            raise InsightError(f"{photo}: expected a photo, found {found}; check the path")
    for photo in photos:
        with opened(photo, str(photo)):
            pass


def check_folder_of_photos(flag: str, folder: Path | None) -> None:
    """`InsightError` where a folder of photographs is asked for and something else is given."""
    if folder is not None and (found := found_at(folder)) != FOLDER:
        raise InsightError(f"{flag} {folder}: expected a folder of photographs, found {found}; check the path")


def check_at_least(least: int, **flags: int | None) -> None:
    """`InsightError` for a whole number below `least`; None is a flag that was left out."""
    for name, value in flags.items():
        if value is not None and value < least:
            raise InsightError(f"{_flag(name)}: expected at least {least}, found {value}")


def check_positive(**flags: float | None) -> None:
    """`InsightError` for a number that is not above 0, or not finite; None is a flag that was left out."""
    for name, value in flags.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InsightError(f"{_flag(name)}: expected a number above 0, found {value}")


def check_within(low: float, high: float, **flags: float | None) -> None:
    """`InsightError` for a number outside a range, its ends included; None is a flag that was left out."""
    for name, value in flags.items():
        if value is not None and not low <= value <= high:
            raise InsightError(f"{_flag(name)}: expected a number from {low:g} to {high:g}, found {value}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
