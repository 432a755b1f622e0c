"""What the sources of the standard layouts share: a folder, its splits, and images known by their path in the folder.

In: the folder and what was asked after the `?` of its word. Out: an `ImageSource` whose ids are paths relative to the
folder, so that an id says where the photograph lies. What is held is named by each layout; pixels and masks are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from sae.errors import InsightError

from ..place import FOLDER, found_at
from ..source import Item


class Layout:
    """Images of a standard layout; a layout says which there are (`ids`) and what is known of each (`item`).

    root: the folder; asked: the options as they were settled, part of the source's name in an index, so that a run
    that was begun on one split is not gone on with on another.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ("split",)
    """What may follow the `?`."""
    classes: tuple[str, ...] = ()

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser()
        if (found := found_at(self.root)) != FOLDER:
            raise InsightError(f"{self.kind}:{root}: expected a folder, found {found}; check the path")
        self.asked: dict[str, str] = {}

    @property
    def name(self) -> str:
        """What an index calls this source: the folder's own name."""
        return self.root.resolve().name or "root"

    @property
    def place(self) -> str:
        """The word that names this source, with the folder's full path."""
        options = "&".join(f"{key}={value}" for key, value in self.asked.items())
        return f"{self.kind}:{self.root.resolve()}" + (f"?{options}" if options else "")

    def ids(self) -> Sequence[str]:
        """Ids of all images, in a fixed order."""
        raise NotImplementedError

    def item(self, id: str) -> Item:
        """The image of this id; `InsightError` when there is none of it."""
        raise NotImplementedError

    def parts(self, size: int) -> Iterator[list[str]]:
        """Slices of the ids, `size` long; `InsightError` when there are no images."""
        ids = self.ids()
        if not ids:
            raise InsightError(f"{self.place}: expected images, found none; is the set unpacked?")
        for start in range(0, len(ids), size):
            yield list(ids[start : start + size])

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        """The images with these ids; `InsightError` when the folder is gone, or has none of such an id."""
        if (found := found_at(self.root)) != FOLDER:  # else all its images would be counted as bad
            raise InsightError(f"{self.root}: the folder is gone, found {found}; put it back and run the command again")
        for id in part[start:]:
            yield self.item(id)

    def unknown(self, id: str) -> InsightError:
        """What `item` raises: parts may come out of a file that others wrote, or of a set that was changed since."""
        return InsightError(
            f"{self.place}: expected the id of one of its images, found {id[:200]!a}; was the set changed after the run"
            " began? put it back, or begin anew"
        )


def choose_splits(asked: str | None, there: Sequence[str], usual: Sequence[str], place: str) -> tuple[str, ...]:
    """The splits that are meant by `asked` ("train", "train,val"), all the `usual` ones that are there without it.

    there: the splits that were found; place: how a message calls where they were looked for. `InsightError` when one
    is not there, or is named twice.
    """
    chosen = tuple(asked.split(",")) if asked is not None else tuple(split for split in usual if split in there)
    missing = [split for split in chosen if split not in there]
    if missing or not chosen or len(set(chosen)) < len(chosen):
        found = ", ".join(sorted(there)[:12]) or "none"
        wanted = f"split {missing[0][:60]!a}" if missing else "different splits" if chosen else f"{', '.join(usual)}"
        raise InsightError(f"{place}: expected {wanted}, found {found}; name them, as in ?split=train")
    return chosen


def plain_path(name: object, place: str) -> str:
    """A path that a list names, if it stays below the folder that it is relative to; else `InsightError`.

    place: the file, and line or entry, that names it.
    """
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or name.startswith("/"):
        wrong = True
    else:
        wrong = any(part in ("", ".", "..") for part in name.split("/"))
    if wrong:
        raise InsightError(f"{place}: expected a path below its folder, found {str(name)[:120]!a}; take the set's own")
    return str(name)


def files_in(folder: Path, suffixes: frozenset[str] | set[str]) -> list[str]:
    """Names of the files of a folder with one of these suffixes (of small letters), sorted; hidden ones are left out.

    Bytes that are not UTF-8 become \\xNN escapes, as ids do.
    `InsightError` when the folder cannot be listed.
    """
    try:
        names = [os.fsencode(entry.name).decode("utf-8", "backslashreplace") for entry in folder.iterdir()]
    except OSError as error:
        raise InsightError(f"{folder}: expected a folder, cannot be listed ({error.strerror})") from None
    return sorted(name for name in names if not name.startswith(".") and Path(name).suffix.lower() in suffixes)


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text without their ends, whichever these are; `InsightError` names a file that is none."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InsightError(f"{path}: expected a text file of the set, cannot be read ({reason})") from None


def one_label(classes: set[str]) -> str | None:
    """The label of an image that shows these classes: the class where it shows one, None where several or none.

    A label is always one class: what shows several is told by the masks, and a list of them is no class of its own.
    """
    return next(iter(classes)) if len(classes) == 1 else None
