"""How strong the penalty must be: accuracy on held-out images against the number of concepts a class needs.

In: rows, classes, weights. Out: an `AccuracyPath`, and the fit at the penalty it chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array

from sae.errors import InsightError

from ..evaluation.sparsity import concepts_to_reach
from .defaults import HELD_OUT, READABLE, SHARE
from .head import Head, predicted
from .linear import LinearFit, alpha_max, fit_linear, fit_path
from .linear.path import DEFAULT_ALPHAS, DEFAULT_RANGE

HALVINGS = 12
"""Steps towards the weakest penalty that leaves few enough concepts: to within 0.2 % of one 1,000 times as strong."""

AROUND = 2
"""Steps on each side that a step's accuracy is averaged with. On training photographs of CIFAR-10 (1,500 to learn from)
accuracy rises along the path from 0.92 to 0.954 and then is level; the single best of one draw lay at 0.947."""

OfRows: TypeAlias = Callable[[csr_array], Float64[np.ndarray, "b C"]]
"""What follows from rows [b, F], a number a class."""


@dataclass(frozen=True, eq=False)
class Examples:
    """What a head learns from. x: [n, F]; y: class numbers [n]; weight: [n] or None; offset: fixed logits, or None;
    soft: targets that are learnt instead of y, which then is the likeliest class, or None. What is a number for each
    image and class is worked out when it is asked for: of many images it would not fit into memory."""

    x: csr_array
    y: Int64[np.ndarray, " n"]
    n_classes: int
    weight: Float64[np.ndarray, " n"] | None = None
    offset: OfRows | None = None
    soft: OfRows | None = None

    def take(self, index: np.ndarray) -> Examples:
        """Some of the images."""
        weight = None if self.weight is None else self.weight[index]
        return replace(self, x=self.x[index], y=self.y[index], weight=weight)

    def targets(self) -> np.ndarray:
        """Class numbers [n], or soft targets [n, C]."""
        return self.y if self.soft is None else self.soft(self.x)

    def fixed(self) -> Float64[np.ndarray, "n C"] | None:
        """The logits that the head adds to."""
        return None if self.offset is None else self.offset(self.x)

    def fit(self, alpha: float, settings: dict[str, Any]) -> LinearFit:
        """The optimum at one penalty."""
        return fit_linear(*self._problem(), alpha=alpha, sample_weight=self.weight, offset=self.fixed(), **settings)

    def strongest(self, settings: dict[str, Any]) -> float:
        """The penalty from which on all weights are 0."""
        kept = {name: settings[name] for name in ("l1_ratio", "fit_intercept", "scale")}
        return alpha_max(*self._problem(), sample_weight=self.weight, offset=self.fixed(), **kept)

    def path(self, settings: dict[str, Any], alphas: list[float] | None = None) -> list[LinearFit]:
        """The optima along a path of penalties, strongest first."""
        return fit_path(*self._problem(), alphas=alphas, sample_weight=self.weight, offset=self.fixed(), **settings)

    def _problem(self) -> tuple[csr_array, np.ndarray, int]:
        return self.x, self.targets(), self.n_classes


@dataclass(frozen=True, eq=False)
class AccuracyPath:
    """What a head is worth at each penalty, strongest first, on images that it did not learn from."""

    alpha: Float64[np.ndarray, " steps"]
    accuracy: Float64[np.ndarray, " steps"]
    """Share of the held-out images that are classified rightly (weighted as the training is)."""
    standard_error: Float64[np.ndarray, " steps"]
    concepts_per_class: Float64[np.ndarray, " steps"]
    """Concepts with a weight, mean over classes (of two classes: in their one row)."""
    most_concepts: Int64[np.ndarray, " steps"]
    """The same, largest of a class."""
    concepts_to_reach: Float64[np.ndarray, " steps"]
    """Concepts that reach 90 % of the positive contributions to the predicted class, mean over held-out images."""
    chosen: int
    """The step that alpha="auto" takes."""
    images: int
    """Held-out images."""

    def rows(self) -> list[dict[str, float]]:
        """A line a step, as plain values."""
        names = ("alpha", "accuracy", "standard_error", "concepts_per_class", "concepts_to_reach")
        return [{name: float(getattr(self, name)[step]) for name in names} for step in range(len(self.alpha))]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        arrays = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return {**arrays, "chosen": self.chosen, "images": self.images}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AccuracyPath:
        """What `to_dict` gave."""
        arrays: Any = {name: np.array(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**arrays)


def held_out_parts(
    classes: Int64[np.ndarray, " n"], share: float, random_state: np.random.RandomState
) -> Iterator[tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " v"]]]:
    """Images to learn from and images to hold out, in turns: each image of a class of two or more is held out once.

    About `share` of each class at a time, in the first turn at least one; a class with one image keeps it to learn
    from. Nothing comes when no class has two images.
    """
    turns = max(2, round(1 / share))
    turn_of = np.full(len(classes), -1)
    for number in np.unique(classes):
        members = random_state.permutation(np.flatnonzero(classes == number))
        if len(members) > 1:
            turn_of[members] = np.arange(len(members)) % turns
    for turn in range(turns):
        if (turn_of == turn).any():
            yield np.flatnonzero(turn_of != turn), np.flatnonzero(turn_of == turn)


def accuracy_path(
    examples: Examples,
    share: float,
    random_state: np.random.RandomState,
    make_head: Callable[[LinearFit], Head],
    settings: dict[str, Any],
    most: int | None,
) -> AccuracyPath:
    """Fit along the path on a part of the images, and look at the rest; of few images in turns, so that all are seen.

    share: of each class held out; make_head: of a fit, with the text where there is one; most: concepts a class may
    have, None: any number. `InsightError` when no class has two images.
    """
    if examples.weight is not None:
        examples = examples.take(np.flatnonzero(examples.weight > 0))
    parts: list[tuple[Examples, Examples]] = []
    for train, held in held_out_parts(examples.y, share, random_state):
        parts.append((examples.take(train), examples.take(held)))
        if sum(len(test.y) for _, test in parts) >= HELD_OUT:
            break
    if not parts:
        raise InsightError(
            'alpha="auto" holds images out to choose the penalty: expected a class with two images or more, found one'
            " image a class; give alpha as a number"
        )
    strongest = max(learn.strongest(settings) for learn, _ in parts)  # so that the first step has no concepts anywhere
    alphas = [float(alpha) for alpha in strongest * np.geomspace(1, DEFAULT_RANGE, DEFAULT_ALPHAS)]
    weights = [np.ones(len(test.y)) if test.weight is None else test.weight for _, test in parts]
    turns = [
        np.array([_looked_at(make_head(fit), test, weight) for fit in learn.path(settings, alphas)])
        for (learn, test), weight in zip(parts, weights)
    ]
    part = np.array([weight.sum() for weight in weights]) / sum(weight.sum() for weight in weights)
    accuracy, reach, mean, _ = np.tensordot(part, np.stack(turns), 1).T
    largest = np.stack(turns)[:, :, 3].max(0)
    weight = np.concatenate(weights) / sum(weight.sum() for weight in weights)
    errors = np.sqrt(np.maximum(accuracy * (1 - accuracy), 0) * (weight @ weight))
    allowed = np.flatnonzero(largest <= (np.inf if most is None else most))
    chosen = most_accurate(accuracy, reach, allowed)
    return AccuracyPath(
        np.array(alphas), accuracy, errors, mean, largest.astype(np.int64), reach, chosen, sum(map(len, weights))
    )


def _looked_at(head: Head, test: Examples, weight: np.ndarray) -> tuple[float, float, float, int]:
    """Of one head on held-out images: accuracy, concepts that a decision needs, concepts a class, most of a class."""
    classes = predicted(head.scores(test.x))
    needed = concepts_to_reach(head.contributions(test.x, classes)[0], SHARE)
    used = concepts_used(head)
    return float(np.average(classes == test.y, weights=weight)), float(needed.mean()), used.mean(), used.max()


def most_accurate(accuracy: np.ndarray, needed: np.ndarray, allowed: np.ndarray) -> int:
    """Of the allowed steps, strongest penalty first, the first of best accuracy among those that people can read.

    A step's accuracy is the mean over the allowed steps around it, as many on either side, at most `AROUND`: among so
    many on a few hundred images a single one is best by chance, and of equals that would be a strong penalty. needed:
    concepts that a decision rests on; where every step needs more than `READABLE`, those that need the fewest.
    """
    known = accuracy[allowed]
    reach = [min(AROUND, i, len(known) - 1 - i) for i in range(len(known))]
    means = np.array([known[i - by : i + by + 1].mean() for i, by in enumerate(reach)])
    readable = np.flatnonzero(needed[allowed] <= max(READABLE, needed[allowed].min()))
    return int(allowed[readable[means[readable].argmax()]])


def fit_within(
    examples: Examples, alpha: float, most: int | None, make_head: Callable[[LinearFit], Head], settings: dict[str, Any]
) -> LinearFit:
    """The fit at a penalty; with `most`, at a stronger one, about the weakest at which no class has more concepts."""

    def fits(fit: LinearFit) -> bool:
        return most is None or int(concepts_used(make_head(fit)).max()) <= most

    found = examples.fit(alpha, settings)
    if fits(found):
        return found
    weak, strong = alpha, max(examples.strongest(settings), alpha)
    found = examples.fit(strong, settings)
    for _ in range(HALVINGS):
        middle = examples.fit(float(np.sqrt(weak * strong)), settings)
        if fits(middle):
            found, strong = middle, middle.alpha
        else:
            weak = middle.alpha
    return found


def concepts_used(head: Head) -> Int64[np.ndarray, " rows"]:
    """How many concepts have a weight in each row; features of one concept count once."""
    return (head.coef != 0).reshape(len(head.coef), -1, head.n_concepts).any(1).sum(1)
