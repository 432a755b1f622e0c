"""Whether names are right: how well they agree with reference labels, beside names dealt out at random.

In: the ranked names of each concept, its reference label, and what makes a name fit a label (`word_key`,
`WordNet.same`, `WordNet.is_kind_of`, or how near they are: `WordNet.similarity`). Out: `Accuracy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sae.errors import InsightError

from .agreement import Agreement, against_shuffles
from .bootstrap import RESAMPLES, Interval, mean, ratio


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Mean agreement of names with references over the concepts that have one, against shuffled references."""

    agreement: Agreement
    interval: Interval
    """Of `agreement.share`, over resamples of the concepts."""
    scores: Float[np.ndarray, " m"]
    """How well each concept's names fit; NaN where there is no reference, 0 where there is no name."""


def accuracy(
    names: Sequence[Sequence[str]],
    references: Sequence[str | None],
    fit: Callable[[str, str], float],
    *,
    top: int = 1,
    shuffles: int = 1000,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Accuracy:
    """How well the best of each concept's first `top` names fits its reference, on average.

    `names`: one sequence for each concept, best first, empty where it has none (which counts as wrong). `references`:
    None where there is none; such concepts are left out. `fit(name, label)`: True or False, or a similarity of 0 to 1;
    it is asked once for each pair.
    """
    if len(names) != len(references):
        raise InsightError(f"expected a reference for each of {len(names)} concepts, found {len(references)}")
    if top < 1:
        raise InsightError(f"accuracy: expected at least one name to look at, found top = {top}")
    kept = [i for i, label in enumerate(references) if label is not None]
    labels = sorted({label for label in references if label is not None})
    if not kept:
        raise InsightError("accuracy: expected at least one concept with a reference label, found none")
    scores = fit_scores([names[i][:top] for i in kept], labels, fit)
    label = np.array([labels.index(label) for label in references if label is not None], dtype=np.int64)
    agreement = against_shuffles(scores, label, shuffles, seed)
    own = scores[np.arange(len(kept)), label]
    every = np.full(len(names), np.nan)
    every[kept] = own
    return Accuracy(agreement, mean(own, resamples=resamples, seed=seed), every)


def fit_scores(
    names: Sequence[Sequence[str]], labels: Sequence[str], fit: Callable[[str, str], float]
) -> Float[np.ndarray, "n labels"]:
    """How well the best of each concept's names fits each label, 0 without names; `fit` is asked once for each pair."""
    phrases = sorted({name for some in names for name in some})
    table = np.array([[float(fit(name, label)) for label in labels] for name in phrases])
    table = table.reshape(len(phrases), len(labels))
    place = {name: row for row, name in enumerate(phrases)}
    best = [table[[place[name] for name in some]].max(0, initial=0.0) for some in names]
    return np.array(best).reshape(len(names), len(labels))


def advantage(ours: Accuracy, theirs: Accuracy, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """How many times as good one way of naming is as another, on the same concepts, resampled together."""
    both = ~np.isnan(ours.scores) & ~np.isnan(theirs.scores)
    return ratio(ours.scores[both], theirs.scores[both], resamples=resamples, seed=seed)
