"""Edits: what a person does to a model, written down at once in `edits.json` beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property
from operator import index
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from naming import ConceptGraph
from sae import SparseAutoencoder
from sae.errors import InsightError

from ..concept import Concept, load_concepts
from .applied import Applied, apply_edits
from .placing import place
from .record import KINDS, LONGEST_NOTE, Anchor, Edit, clean, read_edits, write_edits

FILE = "edits.json"
LOCK = ".edits.json.lock"
PATIENCE = 10.0
"""Seconds to wait for another writer, who needs far less than one."""


class Edits:
    """The edits of the model in `folder`. Each method that makes one writes the file before it returns.

    A `ConceptModel` that was loaded before does not change; load it again. `InsightError` where an edit cannot be
    made: a concept that does not exist, a name that cannot be shown, an edge that would close a cycle.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.entries = read_edits(self.folder / FILE)

    def rename(self, concept: int, name: str, *, note: str | None = None) -> Edit:
        """Call a concept `name`, in any language; the name it had becomes its first alternative."""
        return self._add("rename", [concept], note, name=clean(name, "the name"))

    def merge(self, first: int, *others: int, note: str | None = None) -> Edit:
        """Show concepts as one, under the name of the first.

        It stands where any of them stands, as strongly as the strongest; parents and children are united.
        """
        return self._add("merge", [first, *others], note)

    def hide(self, concept: int, *, note: str | None = None) -> Edit:
        """Leave a concept out of explanations, lists, search and relations."""
        return self._add("hide", [concept], note)

    def show(self, concept: int, *, note: str | None = None) -> Edit:
        """Show a hidden concept again."""
        return self._add("show", [concept], note)

    def relate(self, child: int, parent: int, kind: str, *, note: str | None = None) -> Edit:
        """Let a concept belong to another, as a kind of it or a part of it, or correct the kind of the edge."""
        if kind not in KINDS:
            raise InsightError(f"a concept belongs to another as {' or '.join(KINDS)}, found {kind!r}")
        return self._add("relate", [child, parent], note, kind=kind)

    def unrelate(self, child: int, parent: int, *, note: str | None = None) -> Edit:
        """Remove the edge from a concept to one of its parents."""
        return self._add("unrelate", [child, parent], note)

    def undo(self, number: int) -> Edit:
        """Take an edit back: it is removed from the file, and what came after it stays. Returns the edit."""
        with self._locked():
            entries = read_edits(self.folder / FILE)
            found = [edit for edit in entries if edit.number == number]
            if not found:
                numbers = ", ".join(str(edit.number) for edit in entries) or "none"
                raise InsightError(f"{self.folder / FILE}: expected the number of an edit ({numbers}), found {number}")
            self._write([edit for edit in entries if edit.number != number])
        return found[0]

    def applied(self) -> Applied:
        """The edits applied to the model in the folder."""
        return apply_edits(self.entries, *self._model)

    def apply(self, decoder: Float[Tensor, "m d"], concepts: Sequence[Concept], relations: ConceptGraph) -> Applied:
        """The edits applied to what was read from the folder already."""
        return apply_edits(self.entries, decoder, concepts, relations)

    def _add(self, action: str, concepts: Sequence[int], note: str | None, **values: str) -> Edit:
        decoder, table, relations = self._model
        anchors = tuple(self._anchor(index(concept)) for concept in concepts)
        if len(set(concepts)) < max(2, len(concepts)) and action in ("merge", "relate", "unrelate"):
            raise InsightError(f"{action}: expected two concepts, each once; found {', '.join(map(str, concepts))}")
        with self._locked():
            entries = self._at_home(read_edits(self.folder / FILE))
            if action in ("show", "unrelate"):
                self._something_to_do(action, concepts, apply_edits(entries, decoder, table, relations))
            edit = Edit(
                number=1 + max((entry.number for entry in entries), default=0),
                action=action,
                concepts=anchors,
                note=None if note is None else clean(note, "the note", LONGEST_NOTE),
                date=datetime.now(timezone.utc).date().isoformat(),
                **values,
            )
            refused = apply_edits([*entries, edit], decoder, table, relations).not_applied.get(edit.number)
            if refused:
                raise InsightError(f"{action}: {refused}")
            self._write([*entries, edit])
        return edit

    def _something_to_do(self, action: str, concepts: Sequence[int], before: Applied) -> None:
        if action == "show" and not before.is_hidden(concepts[0]):
            raise InsightError(f"show: concept {concepts[0]} is not hidden")
        if action == "unrelate":
            before.relations.edge(concepts[0], concepts[1])  # an error that says so, where there is none

    def _at_home(self, entries: Sequence[Edit]) -> list[Edit]:
        """The edits with their concepts as they are in this dictionary now; those that are lost stay as they were."""
        places = place([anchor for edit in entries for anchor in edit.concepts], self._model[0])
        return [
            replace(
                edit,
                concepts=tuple(
                    anchor if (found := places[anchor].id) is None else self._anchor(found) for anchor in edit.concepts
                ),
            )
            for edit in entries
        ]

    def _anchor(self, concept: int) -> Anchor:
        decoder = self._model[0]
        if not 0 <= concept < len(decoder):
            raise InsightError(f"{self.folder}: expected a concept of 0 to {len(decoder) - 1}, found {concept}")
        row = decoder[concept].double().numpy()
        length = float(np.linalg.norm(row))
        if not length > 0:
            raise InsightError(f"{self.folder}: concept {concept} has no direction, so it cannot be edited")
        return Anchor(concept, (row / length).astype("<f2").tobytes())

    @cached_property
    def _model(self) -> tuple[Float[Tensor, "m d"], list[Concept], ConceptGraph]:
        if not (self.folder / "relations.npz").exists():
            raise InsightError(f"{self.folder}: expected the folder of a related model to edit, found none there")
        decoder = SparseAutoencoder.from_pretrained(self.folder).decoder.detach()
        concepts = load_concepts(self.folder / "concepts.parquet", len(decoder))
        return decoder, concepts, ConceptGraph.load(self.folder / "relations.npz")

    def _write(self, entries: Sequence[Edit]) -> None:
        write_edits(self.folder / FILE, entries)
        self.entries = tuple(entries)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at a time reads, changes and writes the file."""
        import filelock

        lock = filelock.FileLock(self.folder / LOCK)
        try:
            with lock.acquire(timeout=PATIENCE):
                yield
        except filelock.Timeout:
            raise InsightError(f"{self.folder / FILE}: another process is writing it; try again") from None
        except OSError as error:
            raise InsightError(f"{self.folder / FILE}: cannot be written ({error.strerror}); copy the model") from None
