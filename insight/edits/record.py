"""The file of edits: what one edit says, and how it is read and written.

`edits.json` is an object with "format", "version" and "edits", in the order in which they were made. Each edit names
its concepts twice: by their id, and by their direction, by which they are found again in another dictionary.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from naming.relations.edges import KINDS
from naming.words.phrases import LONGEST
from sae.errors import InsightError
from sae.files import read_json, write_json

FORMAT, VERSION = "insight-edits", 1
CONCEPTS = {"rename": (1, 1), "merge": (2, None), "hide": (1, 1), "show": (1, 1), "relate": (2, 2), "unrelate": (2, 2)}
"""Every action, with the least and the greatest number of its concepts."""
LONGEST_NOTE = 1000
JOINERS = frozenset("\u200c\u200d") | frozenset(map(chr, range(0xE0020, 0xE0080)))
"""What str.isprintable() refuses although writing needs it: joiners (Persian, Indic, emoji) and the tags of flags."""


@dataclass(frozen=True)
class Anchor:
    """A concept as an edit knows it: its id, and the unit vector of its decoder row as float16, little-endian."""

    id: int
    direction: bytes

    def vector(self) -> np.ndarray:
        """float32 [d], of unit length but for the rounding."""
        return np.frombuffer(self.direction, dtype="<f2").astype(np.float32)


@dataclass(frozen=True)
class Edit:
    """One correction. `number` stays with it as long as the file lives; `date` is a day, as YYYY-MM-DD.

    `concepts`: of a merge the first gives the name; of (un)relate the child comes before the parent. `name` is there
    for rename alone, `kind` for relate alone.
    """

    number: int
    action: str
    concepts: tuple[Anchor, ...]
    name: str | None = None
    kind: str | None = None
    note: str | None = None
    date: str | None = None

    def sentence(self, called: Callable[[int], str] = "concept {}".format) -> str:
        """What it says, for people; `called`: how a concept is spoken of, by its id."""
        first, *others = (called(anchor.id) for anchor in self.concepts)
        match self.action:
            case "rename":
                return f"concept {self.concepts[0].id} is called “{self.name}”"
            case "merge":
                return f"{first} stands for {', '.join(others)} as well"
            case "hide":
                return f"{first} is hidden"
            case "show":
                return f"{first} is shown again"
            case "relate":
                return f"{first} is a {str(self.kind).replace('-', ' ')} {others[0]}"
            case _:
                return f"{first} does not belong to {others[0]}"

    def to_dict(self) -> dict[str, Any]:
        """As the file has it; what is None is left out."""
        concepts = [{"id": a.id, "direction": base64.b64encode(a.direction).decode()} for a in self.concepts]
        values = {"number": self.number, "do": self.action, "name": self.name, "kind": self.kind}
        values |= {"note": self.note, "date": self.date, "concepts": concepts}
        return {key: value for key, value in values.items() if value is not None}


def read_edits(path: Path) -> tuple[Edit, ...]:
    """The edits of a file, in order; none where there is no file.

    `InsightError` names a file that is damaged, or was written by a later version of this package.
    """
    if not path.exists():
        return ()
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InsightError(f'{path}: expected a file of edits ("format": "{FORMAT}"), found another; move it away')
    if value.get("version") != VERSION:
        found = repr(value.get("version"))[:20]
        raise InsightError(f"{path}: expected edits of version {VERSION}, found {found}; use the package that wrote it")
    if not isinstance(value.get("edits"), list):
        raise InsightError(f'{path}: expected a list "edits", found none; take it from a copy, or move it away')
    edits = [_edit(entry, f"{path}, edit {place}") for place, entry in enumerate(value["edits"], start=1)]
    numbers = [edit.number for edit in edits]
    if len(set(numbers)) != len(numbers):
        raise InsightError(f"{path}: expected every edit to have its own number, found {numbers[:20]}")
    return tuple(edits)


def write_edits(path: Path, edits: Sequence[Edit]) -> None:
    """Write the file, whole or not at all."""
    write_json(path, {"format": FORMAT, "version": VERSION, "edits": [edit.to_dict() for edit in edits]})


def clean(text: str, what: str, longest: int = LONGEST) -> str:
    """A name or a note with single spaces; `InsightError` unless it has 1 to `longest` characters that can be shown."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    shown = all(character.isprintable() or character in JOINERS for character in text)
    if not text or len(text) > longest or not shown:
        raise InsightError(
            f"{what}: expected 1 to {longest} printable characters, found {len(text)} ({text[:20]!a}); write another"
        )
    return text


def _edit(entry: Any, place: str) -> Edit:
    action = entry.get("do") if isinstance(entry, Mapping) else entry
    if not isinstance(action, str) or not isinstance(entry, Mapping) or action not in CONCEPTS:
        raise InsightError(f'{place}: expected "do" to be one of {", ".join(CONCEPTS)}, found {repr(action)[:40]}')
    least, most = CONCEPTS[action]
    anchors = entry.get("concepts")
    if not isinstance(anchors, list) or not least <= len(anchors) <= (most or len(anchors)):
        raise InsightError(f'{place}: expected a list of {least}{"" if most else " or more"} "concepts" for {action}')
    number = entry.get("number")
    if type(number) is not int or number < 1:
        raise InsightError(f'{place}: expected a "number" of 1 or more, found {number!r}')
    kind = entry.get("kind")
    if (action == "relate") != (kind in KINDS):
        raise InsightError(f'{place}: expected a "kind" ({" or ".join(KINDS)}) for relate alone, found {kind!r}')
    if (action == "rename") != ("name" in entry):
        raise InsightError(f'{place}: expected a "name" for rename, and for rename alone')
    return Edit(
        number=number,
        action=action,
        concepts=tuple(_anchor(anchor, place) for anchor in anchors),
        name=_text(entry, "name", place, LONGEST),
        kind=kind,
        note=_text(entry, "note", place, LONGEST_NOTE),
        date=_text(entry, "date", place, LONGEST),
    )


def _text(entry: Mapping[str, Any], key: str, place: str, longest: int) -> str | None:
    if key not in entry:
        return None
    if not isinstance(entry[key], str):
        raise InsightError(f'{place}: expected "{key}" to be a text, found {str(entry[key])[:20]!a}')
    return clean(entry[key], f'{place}, "{key}"', longest)


def _anchor(value: Any, place: str) -> Anchor:
    try:
        concept, direction = value["id"], base64.b64decode(value["direction"], validate=True)
        vector = np.frombuffer(direction, dtype="<f2").astype(np.float64)
        if type(concept) is int and concept >= 0 and abs(np.linalg.norm(vector) - 1) < 0.01:
            return Anchor(concept, direction)
    except (TypeError, KeyError, ValueError, binascii.Error):
        pass
    raise InsightError(
        f'{place}: expected concepts with an "id" and a "direction" (a unit vector, float16 in base64), found others;'
        " take the file from a copy, or remove this edit from it"
    ) from None
