"""The edits of a model as lines for a person. In: its folder. Out: `EditLine`s, in the order they were made."""

from __future__ import annotations

from pathlib import Path

from ..edits import Edit, Edits
from .values import EditLine


def edit_lines(folder: Path) -> tuple[EditLine, ...]:
    """What each edit says, and why it is not applied if it is not."""
    edits = Edits(folder)
    if not edits.entries:
        return ()
    left_out = edits.applied().not_applied
    return tuple(
        EditLine(edit.number, _said(edit), edit.note, edit.date, left_out.get(edit.number)) for edit in edits.entries
    )


def _said(edit: Edit) -> str:
    numbers = [str(anchor.id) for anchor in edit.concepts]
    match edit.action:
        case "rename":
            return f"concept {numbers[0]} is called “{edit.name}”"
        case "merge":
            return f"concept {numbers[0]} is one with {', '.join(numbers[1:])}"
        case "hide":
            return f"concept {numbers[0]} is hidden"
        case "show":
            return f"concept {numbers[0]} is shown again"
        case "relate":
            return f"concept {numbers[0]} is a {str(edit.kind).removesuffix('-of')} of {numbers[1]}"
        case _:
            return f"concept {numbers[0]} does not belong to {numbers[1]}"
