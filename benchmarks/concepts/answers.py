"""What a mode calls concepts, and how right it is: one number a concept for each figure.

In: the names of a mode and the reference labels of concepts. Out: `Answers`, for one dictionary, one set of concepts,
one vocabulary and one mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.concepts.modes import Named
from benchmarks.concepts.references import Labelled
from benchmarks.concepts.texts import TextSpace
from naming import WordNet, fit_scores, word_key

STRICT, KIND, WU_PALMER, COSINE = "strict", "kind-of", "Wu-Palmer", "text cosine"
TOPS = (1, 5)
SHUFFLED, DEALT = "labels shuffled", "names dealt anew"
SAME = "the same first name"


@dataclass(frozen=True)
class Answers:
    """Values of the concepts asked about, one array [n] for each figure."""

    concepts: np.ndarray
    """int64 [n]."""
    labels: np.ndarray
    """[n] text: what the concepts should be called; "" where the figures need no label."""
    confidence: np.ndarray
    """float64 [n]: how sure the mode is of its name; -inf where it gives none."""
    values: dict[str, np.ndarray] = field(default_factory=dict)
    believed: bool = False
    """Whether `confidence` is meant as the chance of being right."""

    @classmethod
    def join(cls, parts: Sequence[Answers]) -> Answers:
        """Of several sets of labels, one after the other; concepts may occur in more than one."""
        values = {figure: np.concatenate([part.values[figure] for part in parts]) for figure in parts[0].values}
        return cls(
            np.concatenate([part.concepts for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            values,
            all(part.believed for part in parts),
        )


def matching(wordnet: WordNet) -> dict[str, Callable[[str, str], bool]]:
    """When a name counts as its label.

    Strictly: another form of the same word, or of a common sense with it. As a kind: also what is a kind of the label.
    """

    def strict(name: str, label: str) -> bool:
        return word_key(name) == word_key(label) or wordnet.same(name, label)

    def kind(name: str, label: str) -> bool:
        return strict(name, label) or wordnet.is_kind_of(name, label)

    return {STRICT: strict, KIND: kind}


def judge(named: Named, labelled: Labelled, texts: TextSpace, wordnet: WordNet) -> Answers:
    """How right names are for concepts with a reference label.

    Each figure of matching stands beside what it would be if labels were dealt anew among these concepts (the
    expectation over all deals). A concept without a name is wrong, and nothing like its label.
    """
    given = [named.names.phrases[concept][: max(TOPS)] for concept in labelled.concepts]
    distinct = sorted(set(labelled.labels))
    place = np.array([distinct.index(label) for label in labelled.labels], dtype=np.int64)
    often = np.bincount(place, minlength=len(distinct)) / max(len(place), 1)
    row = np.arange(len(given))
    values = {}
    for how, matches in matching(wordnet).items():
        for top in TOPS:
            right = fit_scores([some[:top] for some in given], distinct, matches)
            values[f"top-{top} {how}"] = right[row, place]
            values[f"top-{top} {how}, {SHUFFLED}"] = right @ often
    values[WU_PALMER] = np.array(
        [
            wordnet.similarity(some[0], label) if some else 0.0
            for some, label in zip(given, labelled.labels, strict=True)
        ]
    )
    values[COSINE] = _cosines([some[0] if some else None for some in given], labelled.labels, texts)
    label = np.array([f"{labelled.data}: {label}" for label in labelled.labels])
    return Answers(labelled.concepts, label, confidence(named)[labelled.concepts], values, named.believed is not None)


def confidence(named: Named) -> np.ndarray:
    """[m] what a mode itself believes of its first names, or, where it says nothing, their cosines; -inf: no name."""
    cosines = np.array([scores[0] if scores else -np.inf for scores in named.names.scores])
    return cosines if named.believed is None else np.where(np.isfinite(cosines), named.believed, -np.inf)


def first_keys(named: Named, concepts: np.ndarray) -> np.ndarray:
    """[n] text: the first name of each concept in the form that compares (`word_key`), "" where there is none."""
    return np.array([word_key(phrases[0]) if phrases else "" for phrases in (named.names.phrases[c] for c in concepts)])


def agreeing(named: Named, concepts: np.ndarray, others: tuple[np.ndarray, np.ndarray]) -> Answers:
    """Whether two sources of names (their `first_keys`, concept by concept) call these concepts the same.

    Beside it: how often they would if the second's names were dealt anew. Two that give no name agree.
    """
    one, other = others
    distinct, often = np.unique(other, return_counts=True)
    where = np.clip(np.searchsorted(distinct, one), 0, max(len(distinct) - 1, 0))
    dealt = np.where(distinct[where] == one, often[where] / max(len(other), 1), 0.0) if len(one) else np.zeros(0)
    values = {SAME: (one == other).astype(np.float64), f"{SAME}, {DEALT}": dealt}
    return Answers(concepts, np.full(len(concepts), ""), confidence(named)[concepts], values)


def _cosines(names: Sequence[str | None], labels: Sequence[str], texts: TextSpace) -> np.ndarray:
    named = [(name, label) for name, label in zip(names, labels, strict=True) if name is not None]
    found = np.zeros(len(names))
    if named:
        first, second = (texts.vectors(side) for side in zip(*named, strict=True))
        found[[name is not None for name in names]] = (first * second).sum(1).double().numpy()
    return found
