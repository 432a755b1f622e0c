"""Heads that were given to the explorer: classifiers and segmenters, read once, of the first model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae.errors import InsightError

from ..data.place import FILE, found_at
from ..heads import ConceptClassifier, ConceptSegmenter
from ..model import ConceptModel
from .refusal import Refusal

FACTS = {"classifier": "head.json", "segmenter": "segmenter.json"}


@dataclass(frozen=True)
class OpenHead:
    """A fitted head and what kind it is."""

    name: str
    kind: str
    head: ConceptClassifier | ConceptSegmenter

    @property
    def classes(self) -> list[str]:
        """Names of its classes."""
        return [str(name) for name in (self.head.classes if self.is_segmenter else self.head.classes_)]  # type: ignore[union-attr]

    @property
    def is_segmenter(self) -> bool:
        """Whether it segments; else it classifies."""
        return isinstance(self.head, ConceptSegmenter)

    def facts(self, number: int) -> dict[str, Any]:
        """What it is, ready for JSON."""
        return {"id": number, "name": self.name, "kind": self.kind, "classes": self.classes}


def kind_of_head(folder: Path) -> str:
    """"classifier" or "segmenter"; `InsightError` for a folder with neither."""
    for kind, file in FACTS.items():
        if found_at(folder / file) == FILE:
            return kind
    raise InsightError(
        f"{folder}: expected the folder of a head with {' or '.join(FACTS.values())}, found {found_at(folder)} without;"
        " make one by `insight classify fit` or `ConceptSegmenter.save`"
    )


def open_head(folder: Path, model: ConceptModel) -> OpenHead:
    """Read a head; `InsightError` for one of another model."""
    kind, name = kind_of_head(folder), folder.resolve().name
    if kind == "segmenter":
        return OpenHead(name, kind, ConceptSegmenter.load(folder, model))
    return OpenHead(name, kind, ConceptClassifier.load(folder, model))


def head_at(heads: list[OpenHead], number: int, kind: str) -> Any:
    """The head of that number and kind; `Refusal` where there is none."""
    if not 0 <= number < len(heads):
        raise Refusal(f"head: expected -1 (by text) or one of the {len(heads)} heads given, found {number}")
    if heads[number].kind != kind:
        raise Refusal(f"head: expected a {kind}, found {heads[number].name}, a {heads[number].kind}")
    return heads[number].head
