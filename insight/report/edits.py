"""The edits of a model as lines for a person. In: its folder. Out: `EditLine`s, in the order they were made."""

from __future__ import annotations

from pathlib import Path

from ..edits import Edits
from .values import EditLine


def edit_lines(folder: Path) -> tuple[EditLine, ...]:
    """What each edit says, and why it is not applied if it is not."""
    edits = Edits(folder)
    if not edits.entries:
        return ()
    left_out = edits.applied().not_applied
    return tuple(
        EditLine(edit.number, edit.sentence(), edit.note, edit.date, left_out.get(edit.number))
        for edit in edits.entries
    )
