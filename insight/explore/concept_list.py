"""The concepts of a model as a list that is searched, filtered and sorted while a person types.

In: the concepts as they are shown, and their graph. Out: rows, plain values ready for JSON. A list does not change:
after an edit another is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from naming import ConceptGraph

from .refusal import Refusal

if TYPE_CHECKING:
    from ..concept import Concept

SORTS = ("frequency", "confidence", "name", "level")
MOST = 500
"""Rows of one answer."""
LONGEST = 200
"""Characters of a text that is looked for."""
Row = dict[str, Any]


class ConceptList:
    """Rows of all concepts. `examples` [m]: how many places of each can be shown.

    A row: id, name, named, guessed, how_sure, confidence, alternatives, level, share and frequency (of patches it
    fires on), parents and children (how many), edited, examples.
    """

    def __init__(self, concepts: Sequence[Concept], relations: ConceptGraph, examples: Sequence[int]) -> None:
        self.concepts = concepts
        self.relations = relations
        m = len(concepts)
        parents, children = (
            np.bincount(ends[relations.direct], minlength=m)[relations.synonyms].tolist()
            for ends in (relations.child_ids, relations.parent_ids)
        )
        tokens = max(relations.tokens, 1)
        self.rows: list[Row] = [
            {
                "id": concept.id,
                "name": concept.title,
                "named": concept.name is not None,
                "guessed": concept.guessed,
                "how_sure": concept.how_sure,
                "confidence": concept.confidence,
                "alternatives": list(concept.alternatives),
                "level": concept.level,
                "share": concept.frequency / tokens,
                "frequency": concept.frequency,
                "parents": parents[concept.id],
                "children": children[concept.id],
                "edited": concept.edited,
                "examples": int(examples[concept.id]),
            }
            for concept in concepts
        ]
        self._listed = np.array([concept.shown for concept in concepts], bool)
        self._level = np.array([concept.level for concept in concepts], np.int64)
        self._share = np.array([row["share"] for row in self.rows])
        sure = [-1.0 if concept.confidence is None else concept.confidence for concept in concepts]
        self._confidence = np.array(sure)
        self._orders = self._sorted()
        self._words = [
            "\n".join([str(concept.id), concept.title, *concept.alternatives]).casefold() for concept in concepts
        ]

    def page(
        self,
        *,
        text: str = "",
        level: int | None = None,
        confidence: float | None = None,
        frequency: float | None = None,
        sort: str = "frequency",
        offset: int = 0,
        limit: int = 48,
    ) -> tuple[int, list[Row]]:
        """How many concepts there are of that kind, and the rows `offset` to `offset + limit` of them.

        Every word of `text` is in a name, an alternative or the id; `confidence` and `frequency` (a share of patches)
        are the least. `Refusal` for values out of range.
        """
        if sort not in SORTS:
            raise Refusal(f"sort: expected one of {', '.join(SORTS)}, found {sort[:40]!r}")
        if not (0 <= offset < 2**31 and 0 <= limit <= MOST):
            raise Refusal(f"expected an offset of 0 or more and a limit of 0 to {MOST}, found {offset} and {limit}")
        if len(text) > LONGEST:
            raise Refusal(f"text: expected at most {LONGEST} characters, found {len(text)}")
        for what, least in (("confidence", confidence), ("frequency", frequency)):
            if least is not None and not 0 <= least <= 1:
                raise Refusal(f"{what}: expected a number from 0 to 1, found {least}")
        kept = self._listed.copy()
        if level is not None:
            kept &= self._level == level
        if confidence:
            kept &= self._confidence >= confidence
        if frequency:
            kept &= self._share >= frequency
        order = self._orders[sort]
        found = order[kept[order]]
        if words := text.casefold().split():
            found = np.array([i for i in found.tolist() if all(word in self._words[i] for word in words)], np.int64)
        return len(found), [self.rows[i] for i in found[offset : offset + limit].tolist()]

    def row(self, concept: int) -> Row:
        """The row of one concept, of one that was merged into another the other's. `Refusal` (404) where none is."""
        if not 0 <= concept < len(self.concepts):
            raise Refusal(f"expected a concept of 0 to {len(self.concepts) - 1}, found {concept}", 404)
        target = self.concepts[concept].merged_into
        return self.rows[concept if target is None else target]

    def of(self, concepts: Iterable[int]) -> list[Row]:
        """The rows of some concepts, in their order; hidden ones are left out, merged ones are what they are now."""
        rows = {row["id"]: row for row in map(self.row, concepts)}
        return [row for row in rows.values() if self._listed[row["id"]]]

    def members(self, concept: int) -> list[int]:
        """The concepts that are shown as this one, itself first."""
        return [concept, *self._merged.get(concept, [])]

    def is_listed(self, concept: int) -> bool:
        """Whether it is shown as a concept of its own."""
        return bool(self._listed[concept])

    @cached_property
    def _merged(self) -> dict[int, list[int]]:
        merged: dict[int, list[int]] = {}
        for concept in self.concepts:
            if concept.merged_into is not None:
                merged.setdefault(concept.merged_into, []).append(concept.id)
        return merged

    def _sorted(self) -> dict[str, np.ndarray]:
        """All concepts in each order. By name: those that have one first, then by number; ties by frequency."""
        frequency = -np.array([concept.frequency for concept in self.concepts])
        names = [(concept.name is None, concept.title.casefold()) for concept in self.concepts]
        by_name = sorted(range(len(names)), key=lambda i: (True, "", i) if names[i][0] else (*names[i], frequency[i]))
        return {
            "frequency": np.argsort(frequency, kind="stable"),
            "confidence": np.lexsort((frequency, -self._confidence)),
            "level": np.lexsort((frequency, self._level)),
            "name": np.array(by_name, np.int64),
        }
