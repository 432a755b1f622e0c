"""Explanation: which concepts a picture holds, how strongly, where, and what they belong to.

Comes from `ConceptModel.explain`; goes out as a dictionary (the JSON of `insight explain`), a PNG or one
self-contained HTML page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from naming.relations.edges import VERBS, Kind
from sae.files import atomic_write, write_json

from .concept import how_sure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ConceptEvidence:
    """One concept as it stands in one picture.

    `activation` is the maximum of `map` [h, w], the concept's activation on each patch, in the feature units of the
    backbone. `named`: the name is one; else it is a number, and `alternatives` are guesses. `score` is the cosine of
    the name to the concept (None: not known), `alternatives` are further names with theirs, best first; `confidence` is
    the estimated probability that the first of them all is right (None: not known). `parents` and `children` are
    concept ids: when the concept fires on a patch, its parents nearly always fire there too. `kinds` says of those
    where it is known whether the child is a kind of the parent or a part of it. `edited`: a person changed it
    (docs/editing.md).
    """

    id: int
    name: str
    score: float | None
    alternatives: tuple[tuple[str, float], ...]
    level: int
    activation: float
    map: Float[np.ndarray, "h w"]
    parents: tuple[int, ...]
    children: tuple[int, ...]
    kinds: Mapping[int, Kind] = field(default_factory=dict)
    named: bool = True
    confidence: float | None = None
    edited: bool = False

    @property
    def how_sure(self) -> str:
        """How far to trust the name, for people; of a concept without one, its guesses."""
        return how_sure(self.named, [text for text, _ in self.alternatives], self.confidence, self.score)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "named": self.named,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "score": None if self.score is None else round(self.score, 4),
            "alternatives": [[text, round(score, 4)] for text, score in self.alternatives],
            "level": self.level,
            "activation": round(self.activation, 5),
            "map": [[round(float(value), 5) for value in row] for row in self.map],
            "parents": list(self.parents),
            "children": list(self.children),
            "kinds": {str(relative): kind for relative, kind in self.kinds.items()},
            "edited": self.edited,
        }


@dataclass(frozen=True)
class Explanation:
    """What one picture holds: its concepts, sorted by activation, largest first.

    `fvu` is the share of the picture's patch features that the concepts leave unexplained:
    Σ‖x − x̂‖² / Σ‖x − b‖² over its patches, b the dictionary's bias (a dataset centre; a single picture's own mean
    would make a plain wall look badly explained). `photo` is the picture as the backbone saw it (its centre square).
    `names` holds the names of every concept that `concepts` refers to, parents and children included.
    """

    image: str
    backbone: str
    grid: tuple[int, int]
    fvu: float
    concepts: tuple[ConceptEvidence, ...]
    photo: Image.Image = field(repr=False)
    names: Mapping[int, str] = field(repr=False)
    description: str = ""

    def at(self, row: int, column: int) -> list[ConceptEvidence]:
        """The concepts that stand on one patch, most active first."""
        here = [concept for concept in self.concepts if concept.map[row, column] > 0]
        return sorted(here, key=lambda concept: -concept.map[row, column])

    def belongs_to(self, concept: ConceptEvidence) -> list[str]:
        """A concept's parents as words, the surest first: "part of bird", "kind of animal", "in room"."""
        return [f"{VERBS[concept.kinds.get(parent)]} {self.names[parent]}" for parent in concept.parents]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain values, ready for JSON."""
        return {
            "image": self.image,
            "backbone": self.backbone,
            "grid": list(self.grid),
            "fvu": round(self.fvu, 5),
            "concepts": [concept.to_dict() for concept in self.concepts],
        }

    def save_json(self, path: Path | str) -> None:
        """Write `to_dict` as JSON."""
        write_json(path, self.to_dict())

    def save_png(self, path: Path | str, *, most: int = 11) -> None:
        """Write a picture: the photo, and beside it the maps of its `most` strongest concepts."""
        from .render.figure import draw_explanation

        with atomic_write(path) as temporary:
            draw_explanation(self, temporary, most=most)

    def plot(self, *, top: int = 11) -> Figure:
        """The picture of `save_png` as a matplotlib figure: the photo and the maps of its `top` strongest concepts."""
        from .render.figure import explanation_figure

        return explanation_figure(self, most=top)

    def _repr_html_(self) -> str:
        from .render.notebook import explanation_html

        return explanation_html(self)

    def save_html(self, path: Path | str) -> None:
        """Write one self-contained page: the photo, the maps laid over it, names, parents, children."""
        from .render.page import write_page

        write_page(path, title=Path(self.image).name, explanations=[self])
