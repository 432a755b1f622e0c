"""Whether what a command will have written can be written: asked first, not after minutes of work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sae.errors import InsightError

from ..data.place import FILE, FOLDER, NOTHING, found_at

OF_MODEL = ("config.json", "checkpoint", "training.jsonl", "edits.json")
"""Any of these is in the folder of a model, finished or not."""
OF_CACHE = ("manifest.json", "unfinished", ".lock")
"""Any of these is in the folder of a feature cache, finished or not."""


def check_file(flag: str, path: Path | None, *suffixes: str) -> None:
    """`InsightError` where a file to write is a folder, has another suffix, or stands where nothing can be written."""
    if path is None:
        return
    if (found := found_at(path)) not in (FILE, NOTHING):
        raise InsightError(f"{flag} {path}: expected a file to write, found {found}; name a file in it")
    if path.suffix.lower() not in suffixes:
        kinds = " or ".join(suffixes)
        raise InsightError(f"{flag} {path}: expected a file that ends in {kinds}, found {path.suffix or 'no suffix'}")
    _check_place(flag, path)


def check_folder(flag: str, path: Path, *, own: Sequence[str] = (), what: str = "") -> None:
    """`InsightError` where a folder to write cannot be one, or holds something else than `what`.

    `own`: names, any of which a folder holds that the command itself has written, or begun to; without, all may be.
    """
    if (found := found_at(path)) not in (FOLDER, NOTHING):
        raise InsightError(f"{flag} {path}: expected a folder to write to, found {found}; choose another name")
    _check_place(flag, path)
    inside = {entry.name for entry in path.iterdir()} if found == FOLDER else set()
    if own and inside and not inside & {*own}:
        raise InsightError(
            f"{flag} {path}: expected a new folder or the folder of {what}, found other files"
            f" ({min(inside, key=lambda name: (name.startswith('.'), name))}); choose another"
        )


def _check_place(flag: str, path: Path) -> None:
    """Whether the nearest folder above that exists is one, and may be written to."""
    above = next(folder for folder in [path, *path.absolute().parents] if found_at(folder) != NOTHING)
    if above != path and (found := found_at(above)) != FOLDER:
        raise InsightError(f"{flag} {path}: cannot be written there, {above.name} is {found}; choose another place")
    if not os.access(above, os.W_OK):
        raise InsightError(f"{flag} {path}: {above} may not be written to; choose another place")
