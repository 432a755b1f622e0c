"""Edits applied to a model: its concepts and relations as a person corrected them.

In: the edits of a file, the decoder, and what relating and naming found. Out: `Applied`. Nothing on disk changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from naming import ConceptGraph
from sae.errors import InsightError

from ..concept import Concept
from .placing import Place, place
from .record import Anchor, Edit
from .rewiring import Rewiring


@dataclass(frozen=True)
class Applied:
    """A model's concepts and relations after edits.

    `not_applied` says, by the number of the edit, why one has no effect; `places` where the edits' concepts are now.
    """

    concepts: list[Concept]
    relations: ConceptGraph
    not_applied: Mapping[int, str]
    places: Mapping[Anchor, Place]

    def is_hidden(self, concept: int) -> bool:
        """Whether a concept, or the one it was merged into, is hidden."""
        entry = self.concepts[concept]
        return entry.hidden if entry.merged_into is None else self.concepts[entry.merged_into].hidden

    def complaint(self) -> str | None:
        """The edits that were left out and why, in a line; None if all were applied."""
        if not self.not_applied:
            return None
        count = len(self.not_applied)
        reasons = [f"{number} ({reason})" for number, reason in list(self.not_applied.items())[:3]]
        more = ", …" if count > 3 else ""
        return f"{count} edit{'s' if count > 1 else ''} could not be placed: {', '.join(reasons)}{more}"


def apply_edits(
    edits: Sequence[Edit], decoder: Float[Tensor, "m d"], concepts: Sequence[Concept], relations: ConceptGraph
) -> Applied:
    """Take the edits in order; one whose concepts are not found again, or that would close a cycle, is left out.

    A merged concept has the greatest frequency of its members: it fires on at least that many patches.
    """
    places = place([anchor for edit in edits for anchor in edit.concepts], decoder)
    shown = np.arange(len(concepts))
    names: dict[int, str] = {}
    hidden: set[int] = set()
    touched: set[int] = set()
    rewiring = Rewiring(relations, lambda concept: names.get(concept, concepts[concept].title))
    left_out: dict[int, str] = {}
    for edit in edits:
        try:
            first, *others = (int(shown[concept]) for concept in _placed(edit, places))
            match edit.action:
                case "rename":
                    names[first] = str(edit.name)
                case "merge":
                    others = [concept for concept in dict.fromkeys(others) if concept != first]
                    if not others:
                        raise InsightError(f"they are one concept already, {first}")
                    rewiring.merge(first, others)
                    shown[np.isin(shown, others)] = first
                    hidden -= set(others)
                case "hide":
                    hidden.add(first)
                case "show":
                    hidden.discard(first)
                case "relate":
                    rewiring.relate(first, others[0], str(edit.kind))
                case "unrelate":
                    rewiring.unrelate(first, others[0])
            if edit.action not in ("hide", "show"):
                touched.add(first)
        except InsightError as error:
            left_out[edit.number] = str(error)
    edited = _table(concepts, names, shown, touched, hidden)
    if hidden:
        rewiring.hide(np.flatnonzero(np.isin(shown, list(hidden))).tolist())
    rewired = {"merge", "hide", "relate", "unrelate"} & {edit.action for edit in edits if edit.number not in left_out}
    return Applied(edited, rewiring.graph() if rewired else relations, left_out, places)


def _table(
    concepts: Sequence[Concept], names: Mapping[int, str], shown: np.ndarray, touched: set[int], hidden: set[int]
) -> list[Concept]:
    """The concepts with their new names and marks; `shown` [m] is what each was merged into, or itself."""
    edited = list(concepts)
    for concept, name in names.items():
        edited[concept] = _renamed(edited[concept], name)
    for member in np.flatnonzero(shown != np.arange(len(shown))).tolist():
        first = int(shown[member])
        frequency = max(edited[first].frequency, edited[member].frequency)
        edited[first] = replace(edited[first], frequency=frequency)
        edited[member] = replace(edited[member], merged_into=first, edited=True)
    for concept in touched | hidden:
        edited[concept] = replace(edited[concept], edited=True, hidden=concept in hidden)
    return edited


def _placed(edit: Edit, places: Mapping[Anchor, Place]) -> list[int]:
    found = [places[anchor] for anchor in edit.concepts]
    lost = [place.reason for place in found if place.id is None]
    if lost:
        raise InsightError("; ".join(lost))
    return [place.id for place in found if place.id is not None]


def _renamed(concept: Concept, name: str) -> Concept:
    """The concept under another name; the one it had comes first among its alternatives.

    A name that was among them keeps its score; of another none is known. What was estimated of the old name goes.
    """
    words = [*([concept.name] if concept.name else []), *concept.alternatives]
    scores = list(concept.scores)
    same = [place for place, word in enumerate(words) if word.casefold() == name.casefold()]
    if same:
        del words[same[0]]
        if same[0] < len(scores):
            scores.insert(0, scores.pop(same[0]))
    return replace(concept, name=name, alternatives=tuple(words), scores=tuple(scores), confidence=None, stability=None)
