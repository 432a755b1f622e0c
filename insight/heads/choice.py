"""How strong the penalty must be: accuracy on held-out images against the number of concepts a class needs.

In: rows, classes, weights. Out: an `AccuracyPath`, and the fit at the penalty it chose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array

from sae.errors import InsightError

from ..evaluation.sparsity import concepts_to_reach
from .defaults import SHARE, STANDARD_ERRORS
from .head import Head, predicted
from .linear import LinearFit, fit_linear, fit_path


@dataclass(frozen=True, eq=False)
class Examples:
    """What a head learns from. x: [n, F]; y: class numbers [n], or soft targets [n, C]; weight: [n] or None; offset:
    fixed logits [n, C] or None."""

    x: csr_array
    y: np.ndarray
    n_classes: int
    weight: Float64[np.ndarray, " n"] | None = None
    offset: Float64[np.ndarray, "n C"] | None = None

    @property
    def classes(self) -> Int64[np.ndarray, " n"]:
        """The class of each image; of soft targets the likeliest."""
        return self.y if self.y.ndim == 1 else self.y.argmax(1)

    def take(self, index: np.ndarray) -> Examples:
        """Some of the images."""
        weight = None if self.weight is None else self.weight[index]
        offset = None if self.offset is None else self.offset[index]
        return Examples(self.x[index], self.y[index], self.n_classes, weight, offset)

    def fit(self, alpha: float, settings: dict[str, Any]) -> LinearFit:
        """The optimum at one penalty."""
        weight, offset = self.weight, self.offset
        return fit_linear(self.x, self.y, self.n_classes, alpha=alpha, sample_weight=weight, offset=offset, **settings)

    def path(self, settings: dict[str, Any], alphas: list[float] | None = None) -> list[LinearFit]:
        """The optima along a path of penalties, strongest first."""
        weight, offset = self.weight, self.offset
        return fit_path(self.x, self.y, self.n_classes, alphas=alphas, sample_weight=weight, offset=offset, **settings)


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


def split_by_class(
    classes: Int64[np.ndarray, " n"], share: float, random_state: np.random.RandomState
) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " v"]]:
    """Images to learn from and images to hold out: of each class about `share`, at least one of two or more.

    A class with one image keeps it to learn from.
    """
    held = []
    for number in np.unique(classes):
        members = random_state.permutation(np.flatnonzero(classes == number))
        count = min(len(members) - 1, max(1, round(share * len(members))))
        held.append(members[:count])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(classes)), out), out


def accuracy_path(
    examples: Examples,
    share: float,
    random_state: np.random.RandomState,
    make_head: Callable[[LinearFit], Head],
    settings: dict[str, Any],
    most: int | None,
) -> AccuracyPath:
    """Fit along the path on a part of the images, and look at the rest.

    share: of each class held out; make_head: of a fit, with the text where there is one; most: concepts a class may
    have, None: any number. `InsightError` when no class has two images.
    """
    if examples.weight is not None:
        examples = examples.take(np.flatnonzero(examples.weight > 0))
    train, held = split_by_class(examples.classes, share, random_state)
    if not len(held):
        raise InsightError(
            'alpha="auto" holds images out to choose the penalty: expected a class with two images or more, found one'
            " image a class; give alpha as a number"
        )
    test = examples.take(held)
    weight = np.full(len(held), 1 / len(held)) if test.weight is None else test.weight / test.weight.sum()
    steps = []
    for fit in examples.take(train).path(settings):
        head = make_head(fit)
        classes = predicted(head.scores(test.x))
        accuracy = float(weight @ (classes == test.classes))
        error = (accuracy * (1 - accuracy) * (weight @ weight)) ** 0.5
        used = concepts_used(fit.coef, head)
        steps.append((fit.alpha, accuracy, error, used.mean(), used.max(), mean_reach(head, test.x, classes)))
    alpha, accuracies, errors, mean, largest, reach = map(np.array, zip(*steps))
    allowed = np.flatnonzero(largest <= (np.inf if most is None else most))
    chosen = simplest(accuracies, errors, allowed)
    return AccuracyPath(alpha, accuracies, errors, mean, largest, reach, chosen, len(held))


def simplest(accuracy: np.ndarray, standard_error: np.ndarray, allowed: np.ndarray) -> int:
    """Of the allowed steps, strongest penalty first, the first that cannot be told from the best."""
    best = allowed[accuracy[allowed].argmax()]
    enough = accuracy[best] - STANDARD_ERRORS * standard_error[best]
    return int(allowed[(accuracy[allowed] >= enough).argmax()])


def fit_within(
    examples: Examples, alpha: float, most: int | None, make_head: Callable[[LinearFit], Head], settings: dict[str, Any]
) -> LinearFit:
    """The fit at a penalty; with `most`, at the weakest penalty from there up at which no class has more concepts."""
    fit = examples.fit(alpha, settings)
    if most is None or concepts_used(fit.coef, make_head(fit)).max() <= most:
        return fit
    stronger = [fit.alpha for fit in examples.path(settings) if fit.alpha > alpha]
    fits = examples.path(settings, stronger)
    return next(fit for fit in reversed(fits) if concepts_used(fit.coef, make_head(fit)).max() <= most)


def concepts_used(coef: Float64[np.ndarray, "rows F"], head: Head) -> Int64[np.ndarray, " rows"]:
    """How many concepts have a weight in each row; features of one concept count once."""
    used = (coef != 0).reshape(len(coef), -1, head.n_concepts).any(1)
    return used.sum(1)


def mean_reach(head: Head, x: csr_array, classes: np.ndarray) -> float:
    """Concepts that reach 90 % of the positive contributions to these classes, mean over images."""
    return float(concepts_to_reach(head.contributions(x, classes)[0], SHARE).mean())
