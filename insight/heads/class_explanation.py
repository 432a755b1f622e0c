"""ClassExplanation: why a photo is of a class, as a sum over concepts. Made by `ConceptClassifier.explain`.

Goes out as a dictionary (the JSON of `insight classify explain`) or a PNG.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64
from PIL import Image

from sae.errors import InsightError
from sae.files import atomic_write, write_json

from ..evaluation.sparsity import concepts_to_reach
from .defaults import SHARE
from .head import class_logits, class_probabilities, class_rows, predicted
from .least_set import LeastSet, least_set


@dataclass(frozen=True)
class Term:
    """One feature's part of a contribution: value · weight. feature: how it was pooled ("max", "mean", "top")."""

    concept: int
    feature: str
    value: float
    weight: float


@dataclass(frozen=True)
class Contribution:
    """What one concept puts into the logit of the class.

    `contribution` is the sum of value · weight over `terms`: the concept's features, and those of concepts that were
    merged into it. `activation` is the maximum of `map` [h, w], its activation on each patch. `title` is its name, or
    its number where it has none or a person hid it: hidden concepts count like all others. `guessed` is the title with
    the best guess behind a number: "concept 812 (wheel?)".
    """

    id: int
    title: str
    guessed: str
    contribution: float
    activation: float
    terms: tuple[Term, ...]
    map: Float[np.ndarray, "h w"] = field(repr=False)
    edited: bool = False

    @property
    def weight(self) -> float:
        """Contribution for an activation of 1."""
        return self.contribution / self.activation

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "guessed": self.guessed,
            "contribution": self.contribution,
            "activation": round(self.activation, 5),
            "terms": [[term.concept, term.feature, term.value, term.weight] for term in self.terms],
            "map": [[round(float(value), 5) for value in row] for row in self.map],
            "edited": self.edited,
        }


@dataclass(frozen=True)
class ClassExplanation:
    """Why a photo is of class `target`, or why not.

    `contributions`: the concepts that put something into the logit of `target`, largest first by size, whichever way
    they speak; Σ contributions + `intercept` = `logit`. Of two classes a class's logit is its log-odds against the
    other. `effects` [k, rows] are the contributions of the concepts `active` to the logits of all classes (of two
    classes one row, the second's), `base` [rows] those of no concept: what `least` and `without` are computed from. A
    head with a text divides by the length of the photo's reconstruction, which stays the photo's own in both.
    `photo`: the picture as the backbone saw it.
    """

    image: str
    classes: tuple[Any, ...]
    target: Any
    contributions: tuple[Contribution, ...]
    intercept: float
    grid: tuple[int, int]
    photo: Image.Image = field(repr=False)
    active: tuple[int, ...] = field(repr=False)
    titles: tuple[str, ...] = field(repr=False)
    effects: Float64[np.ndarray, "k rows"] = field(repr=False)
    base: Float64[np.ndarray, " rows"] = field(repr=False)
    backbone: str = ""
    description: str = ""

    @cached_property
    def prediction(self) -> ClassPrediction:
        """What the head says of the photo."""
        return ClassPrediction(self.classes, self.effects.sum(0) + self.base)

    @property
    def predicted(self) -> Any:
        """The class the head decides for."""
        return self.prediction.predicted

    @property
    def logits(self) -> Float64[np.ndarray, " C"]:
        """Of all classes."""
        return self.prediction.logits

    @property
    def probabilities(self) -> Float64[np.ndarray, " C"]:
        """Of all classes."""
        return self.prediction.probabilities

    @property
    def logit(self) -> float:
        """Of `target`."""
        return float(self.logits[self.classes.index(self.target)])

    @property
    def probability(self) -> float:
        """Of `target`."""
        return float(self.probabilities[self.classes.index(self.target)])

    @cached_property
    def least(self) -> LeastSet:
        """The fewest concepts that, all others silent, keep the decision for `predicted`."""
        winner = self.classes.index(self.predicted)
        row, sign = class_rows(np.array([winner]), len(self.base))
        if len(self.base) == 1:
            lead, without = sign * self.effects, sign * self.base
        else:
            lead = np.delete(self.effects[:, row] - self.effects, winner, axis=1)
            without = np.delete(self.base[row] - self.base, winner)
        chosen, exact = least_set(lead, without)
        chosen.sort(key=lambda k: -sign[0] * self.effects[k, row[0]])
        return LeastSet(tuple(self.active[k] for k in chosen), exact)

    @property
    def n90(self) -> int:
        """How many concepts reach 90 % of the positive contributions to `target`."""
        return int(concepts_to_reach(np.array([[item.contribution for item in self.contributions]]), SHARE)[0])

    def without(self, concepts: Iterable[int | str]) -> ClassPrediction:
        """What the head would say if these concepts, by number or title, were silent.

        A number of a concept that does not stand in the photo changes nothing. `InsightError` for an unknown title.
        """
        return ClassPrediction(self.classes, self.effects[~self._among(concepts)].sum(0) + self.base)

    def only(self, concepts: Iterable[int | str]) -> ClassPrediction:
        """What the head would say if only these concepts, by number or title, stood in the photo."""
        return ClassPrediction(self.classes, self.effects[self._among(concepts)].sum(0) + self.base)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain values, ready for JSON."""
        return {
            "image": self.image,
            "backbone": self.backbone,
            "grid": list(self.grid),
            "target": self.target,
            "logit": self.logit,
            "intercept": self.intercept,
            "contributions": [item.to_dict() for item in self.contributions],
            "concepts_to_90_percent": self.n90,
            "least": {"concepts": list(self.least.concepts), "exact": self.least.exact},
            "prediction": self.prediction.to_dict(),
        }

    def save_json(self, path: Path | str) -> None:
        """Write `to_dict` as JSON."""
        write_json(path, self.to_dict())

    def save_png(self, path: Path | str, *, most: int = 8) -> None:
        """Write a picture: the photo, the contributions as bars, and the maps of the `most` that matter most."""
        from ..render.class_figure import draw_class_explanation

        with atomic_write(path) as temporary:
            draw_class_explanation(self, temporary, most=most)

    def _repr_html_(self) -> str:
        from ..render.notebook import class_explanation_html

        return class_explanation_html(self)

    def _among(self, concepts: Iterable[int | str]) -> np.ndarray:
        """bool [k]: which of the active concepts are meant."""
        meant = np.zeros(len(self.active), dtype=bool)
        for concept in concepts:
            known = self.titles if isinstance(concept, str) else self.active
            hit = np.array([entry == concept for entry in known], dtype=bool)
            if isinstance(concept, str) and not hit.any():
                raise InsightError(f"{self.image}: expected the title of a concept of this photo, found {concept!r}")
            meant |= hit
        return meant


@dataclass(frozen=True)
class ClassPrediction:
    """What a head says of one photo. scores [rows]: as of `insight.heads.head.Head`."""

    classes: tuple[Any, ...]
    scores: Float64[np.ndarray, " rows"]

    @property
    def logits(self) -> Float64[np.ndarray, " C"]:
        """Of all classes; of two the log-odds of each."""
        return class_logits(self.scores[None])[0]

    @property
    def probabilities(self) -> Float64[np.ndarray, " C"]:
        """Of all classes."""
        return class_probabilities(self.scores[None])[0]

    @property
    def predicted(self) -> Any:
        """The class with the largest logit."""
        return self.classes[int(predicted(self.scores[None])[0])]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the likeliest class first."""
        order = np.argsort(-self.probabilities, kind="stable")
        found = [[self.classes[i], float(self.logits[i]), float(self.probabilities[i])] for i in order]
        return {"predicted": self.predicted, "classes": found}
