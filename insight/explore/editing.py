"""Edits of the first model from the explorer: made in its folder at once, and shown by the running model at once.

In: what a person asks for. Out: plain values ready for JSON.
"""

from __future__ import annotations

from typing import Any

from sae.errors import InsightError

from ..edits import Edit
from ..edits.record import CONCEPTS
from .explorer import Explorer
from .open_model import OpenModel
from .refusal import Refusal

MOST_MERGED = 100


def edits_of(explorer: Explorer) -> dict[str, Any]:
    """All edits of the first model, and why some have no effect."""
    opened = explorer.models[0]
    with opened.changing:
        applied = opened.edits.applied() if opened.edits.entries else None
        entries = opened.edits.entries
    return {
        "edits": [edit_row(opened, edit) for edit in entries],
        "not_applied": {} if applied is None else {str(number): why for number, why in applied.not_applied.items()},
        "editable": opened.why_not_editable is None,
        "why_not": opened.why_not_editable,
    }


def make_edit(explorer: Explorer, asked: Any) -> dict[str, Any]:
    """Make one edit; `asked`: {"action", "concepts": ids, "name"?, "kind"?, "note"?}. `Refusal` where it cannot be."""
    action = asked.get("action") if isinstance(asked, dict) else None
    if not isinstance(action, str) or action not in CONCEPTS:
        raise Refusal(f"action: expected one of {', '.join(CONCEPTS)}")
    concepts = asked.get("concepts")
    if not isinstance(concepts, list) or not all(type(concept) is int for concept in concepts):
        raise Refusal("concepts: expected a list of ids")
    texts = {key: asked.get(key) for key in ("name", "kind", "note")}
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise Refusal("name, kind and note: expected texts")
    note = texts["note"] or None
    least, most = CONCEPTS[action]
    most = most or MOST_MERGED
    if not least <= len(concepts) <= most:
        expected = least if least == most else f"{least} to {most}"
        raise Refusal(f"concepts: expected {expected} for {action}, found {len(concepts)}")
    opened = _editable(explorer)
    with opened.changing:
        if action == "rename":
            edit = opened.edits.rename(concepts[0], texts["name"] or "", note=note)
        elif action == "relate":
            edit = opened.edits.relate(concepts[0], concepts[1], texts["kind"] or "", note=note)
        else:
            edit = getattr(opened.edits, action)(*concepts, note=note)
        _apply(explorer, opened)
    return {"edit": edit_row(opened, edit), "version": explorer.version}


def undo_edit(explorer: Explorer, number: int) -> dict[str, Any]:
    """Take an edit back. `Refusal` (404) where there is none of that number."""
    opened = _editable(explorer)
    with opened.changing:
        try:
            opened.edits.undo(number)
        except InsightError as error:
            if number in {edit.number for edit in opened.edits.entries}:
                raise
            raise Refusal(f"expected the number of an edit, found {number}", 404) from error
        _apply(explorer, opened)
    return {"version": explorer.version}


def edit_row(opened: OpenModel, edit: Edit) -> dict[str, Any]:
    """An edit as the explorer lists it."""
    concepts = opened.model.concepts

    def called(concept: int) -> str:
        return f"“{concepts[concept].title}” ({concept})" if concept < len(concepts) else f"concept {concept}"

    return {
        "number": edit.number,
        "action": edit.action,
        "concepts": [anchor.id for anchor in edit.concepts],
        "sentence": edit.sentence(called),
        "date": edit.date,
        "note": edit.note,
    }


def _editable(explorer: Explorer) -> OpenModel:
    opened = explorer.models[0]
    if opened.why_not_editable is not None:
        raise Refusal(opened.why_not_editable)
    return opened


def _apply(explorer: Explorer, opened: OpenModel) -> None:
    """Show the edits as they are now; whoever is at the encoder ends first."""
    applied = opened.edits.applied()
    with explorer.turns.take():
        opened.model.apply(applied)
        opened.refresh()
    explorer.segmentations.clear()
