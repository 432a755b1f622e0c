"""Whether names are right: agreement with reference labels, beside what names dealt out at random would reach.

In: a name for each concept (or its vector) and a reference label for each, from evidence that naming has not seen.
Out: `Agreement`, the share that match, the same under shuffled labels, and how often chance does as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae.errors import InsightError

from ..words.wordforms import word_key


@dataclass(frozen=True)
class Agreement:
    """Share of concepts whose name matches its reference, against the null of shuffled references."""

    share: float
    null: float
    """Mean share over all shuffles: what the most frequent labels and names give for nothing."""
    p_value: float
    """Share of shuffles, the data counted as one, that do at least as well."""
    concepts: int
    """Concepts that have a reference; one without a name counts among them, and as wrong."""


def name_agreement(
    names: Sequence[str | None], references: Sequence[str | None], *, shuffles: int = 1000, seed: int = 0
) -> Agreement:
    """A name matches when it is its reference label or another form of the same word (`word_key`).

    Both have one entry for each concept; None is no name, or no reference (the concept is left out).
    """
    if len(names) != len(references):
        raise InsightError(f"expected a reference for each of {len(names)} names, found {len(references)}")
    pairs = [(name, label) for name, label in zip(names, references, strict=True) if label is not None]
    labels = sorted({word_key(label) for _, label in pairs})
    place = {label: i for i, label in enumerate(labels)}
    match = np.zeros((len(pairs), len(labels)), dtype=bool)
    for i, (name, _) in enumerate(pairs):
        if name is not None and word_key(name) in place:
            match[i, place[word_key(name)]] = True
    return against_shuffles(match, np.array([place[word_key(label)] for _, label in pairs], int), shuffles, seed)


def cosine_agreement(
    name_vectors: Float[Tensor, "n d"],
    label_vectors: Float[Tensor, "labels d"],
    reference: Int[Tensor, " n"],
    *,
    least: float,
    shuffles: int = 1000,
    seed: int = 0,
) -> Agreement:
    """A name matches when the text cosine of it and its reference label is at least `least`.

    Unit vectors, `reference` the label of each concept; a concept without a name has a zero row. `least` is a
    property of the text space: take it from pairs of words known to mean the same and known not to.
    """
    if len(name_vectors) != len(reference):
        raise InsightError(f"expected a reference for each of {len(name_vectors)} names, found {len(reference)}")
    match = (name_vectors.double() @ label_vectors.double().T >= least) & (name_vectors.abs().sum(1, keepdim=True) > 0)
    return against_shuffles(match.numpy(), reference.numpy(), shuffles, seed)


def against_shuffles(
    match: Bool[np.ndarray, "n labels"] | Float[np.ndarray, "n labels"],
    label: Int[np.ndarray, " n"],
    shuffles: int,
    seed: int,
) -> Agreement:
    """How well n names fit their labels: `match[i, l]` says how well (0 to 1) name i fits label l.

    `null` is the mean over every way to deal the labels out, exactly; the shuffles give the p-value.
    """
    n = len(label)
    if not n:
        raise InsightError("expected at least one concept with a reference label, found none")
    row = np.arange(n)
    share = match[row, label].mean()
    null = match.sum(0, dtype=np.float64) @ np.bincount(label, minlength=match.shape[1]) / n**2
    generator = np.random.default_rng(seed)
    # equal sums of fractions may differ in the last digit
    as_good = sum(match[row, generator.permutation(label)].mean() >= share - 1e-12 for _ in range(shuffles))
    return Agreement(float(share), float(null), float((1 + as_good) / (1 + shuffles)), n)
