"""Report: all that is said of a model, as plain values, and the parts it is made of.

Made by `collect`. Out: `to_dict`, strict JSON without the crops. Shares are from 0 to 1; what is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from naming.relations.edges import Kind

if TYPE_CHECKING:
    from ..render.page import ConceptCard


@dataclass(frozen=True)
class Section:
    """One part of a model's card: a title and lines of text."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Quality:
    """How well the dictionary explains some patches. `where`: which; `patches`: how many (None: not recorded)."""

    where: str
    patches: int | None
    fvu: tuple[float | None, ...]
    """Unexplained share of the variance with the first level alone, the first two, and so on."""
    cosine: float | None
    l0: float
    """Mean number of active concepts on a patch."""
    dead: float
    """Share of concepts that are active on none of the patches."""
    dense: float
    """Share of concepts that are active on more than a tenth of them."""


@dataclass(frozen=True)
class Level:
    """One level, counted from the coarsest, 0. `silent` and `named` are numbers of its concepts."""

    number: int
    concepts: int
    silent: int | None
    named: int | None


@dataclass(frozen=True)
class Activity:
    """How often concepts are active: over `patches` patches of the cache that the model was related on, or, before
    that, over training patches (`patches` is None, and levels are not told apart)."""

    patches: int | None
    edges: tuple[float, ...]
    """Edges of the bins, shares of patches, rising."""
    counts: tuple[tuple[int, ...], ...]
    """For each level (or one row for all) the number of active concepts in each bin."""
    never: int
    """Concepts that are active on no patch."""
    dense: tuple[tuple[int, str, float], ...]
    """Concepts that are active on more than a tenth of the patches: id, title, share; the most frequent first."""
    l0: float | None


@dataclass(frozen=True)
class Names:
    """What the concepts that are ever active and shown are called."""

    concepts: int
    named: int
    different: int
    """Different names, upper and lower case alike."""
    by_person: int
    """Names that a person gave."""
    expected_right: float | None
    """Mean confidence of the names: the share of them that is expected to be right."""
    stability: float | None
    """Mean stability of the names."""
    least: float | None
    """Confidence that a name must reach to be given."""
    edges: tuple[float, ...]
    named_counts: tuple[int, ...]
    """Concepts with a name, by confidence."""
    guessed_counts: tuple[int, ...]
    """Concepts without one, by the confidence of the first guess."""


@dataclass(frozen=True)
class Node:
    """A concept in the tree, under the surest of its parents."""

    id: int
    title: str
    named: bool
    confidence: float | None
    level: int
    share: float
    """Of the patches it is active on."""
    kind: Kind | None
    """What it is to the parent above it; None: not told, or nothing is above."""
    also: tuple[tuple[Kind | None, str], ...]
    """Its other parents: what it is to each, and their titles."""
    same: tuple[str, ...]
    """Titles of its synonyms."""
    below: int
    """Concepts under it, shown or not."""
    children: tuple[Node, ...]
    edited: bool = False


@dataclass(frozen=True)
class Forest:
    """The concept tree. `trees`: those that are shown, the largest first; the other figures count all of them."""

    trees: tuple[Node, ...]
    n_trees: int
    n_shown: int
    """Concepts in the trees that are shown."""
    n_concepts: int
    """Concepts in trees."""
    alone: int
    """Concepts that are ever active, without a parent or a child."""
    sizes: tuple[tuple[str, int], ...]
    """Trees that are not shown, the largest first (at most a hundred): title of the root, concepts."""
    edges: Mapping[str, int]
    """Direct edges of each kind: "kind-of", "part-of", "of no told kind"."""
    beside: int
    """Pairs of concepts that stand beside each other."""


@dataclass(frozen=True)
class Weight:
    """A weight of a head: what an activation of 1 adds to the logit. `feature`: "max", "mean", "top", "patch", "around"
    (the 3 × 3 patches around) or "text"."""

    id: int
    title: str
    feature: str
    weight: float


@dataclass(frozen=True)
class HeadClass:
    """One class of a head: how many concepts have a weight for it, and the strongest for and against it."""

    name: str
    concepts: int
    strongest_for: tuple[Weight, ...]
    strongest_against: tuple[Weight, ...]


@dataclass(frozen=True)
class HeadTable:
    """One head. `accuracy`: share of held-out images classified rightly, as stored when it was fitted."""

    place: str
    kind: str
    facts: Mapping[str, str]
    accuracy: float | None
    standard_error: float | None
    held_out: int | None
    """Images that the accuracy was measured on."""
    concepts: int
    """Concepts that have a weight for any class."""
    classes: tuple[HeadClass, ...]


@dataclass(frozen=True)
class EditLine:
    """One edit of a person. `reason`: why it is not applied (None: it is)."""

    number: int
    said: str
    note: str | None
    date: str | None
    reason: str | None


@dataclass(frozen=True)
class Report:
    """All that is said of a model. A part that the model does not have is None or empty, and `missing` says why."""

    name: str
    facts: Mapping[str, str]
    card: tuple[Section, ...]
    readme: str | None
    limits: tuple[str, ...]
    missing: tuple[str, ...]
    quality: tuple[Quality, ...]
    levels: tuple[Level, ...]
    activity: Activity | None
    names: Names | None
    tree: Forest | None
    cards: tuple[ConceptCard, ...]
    """Concepts with crops from the photographs, level by level."""
    heads: tuple[HeadTable, ...]
    edits: tuple[EditLine, ...]
    cache: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for strict JSON; of `cards` the concepts and the number of crops, not the crops."""
        cards = [
            {"id": card.id, "name": card.name, "level": card.level, "crops": len(card.examples)} for card in self.cards
        ]
        found = {field.name: _plain(getattr(self, field.name)) for field in fields(self) if field.name != "cards"}
        return {"format": "insight-report", "version": 1, **found, "cards": cards}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value
