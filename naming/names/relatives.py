"""What relations add to names: concepts of one name told apart, and clues for a language model.

In: the phrases of each concept, which of them are sure enough to be names, and the concept graph. Out: titles; `Clues`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..relations.graph import ConceptGraph
from ..words.titles import tell_apart
from ..words.wordnet import WordNet
from .by_language_model import Clues
from .nearest import Names


def titles_of(
    names: Sequence[str | None], graph: ConceptGraph, composed: Sequence[str | None] | None = None
) -> list[str | None]:
    """Names of which those that several concepts share are told apart (`tell_apart`); None stays.

    By what a concept is part of, by its phrase of `composed` if there is one, and by what it is a kind of. A relative
    is used only if WordNet knows the one word as a part, or a kind, of the other: a truck that stands on the regions
    of "street" is not a "truck of a street".
    """
    wordnet = WordNet.load()
    phrases = [[phrase] if phrase else [] for phrase in composed or [None] * len(names)]
    wholes: list[list[str]] = []
    kinds: list[list[str]] = []
    for concept, name in enumerate(names):
        of, a = (_named(names, graph.parents(concept, kind)) if name else [] for kind in ("part-of", "kind-of"))
        wholes.append([whole for whole in of if wordnet.is_part_of(name or "", whole)])
        kinds.append(
            [kind for kind in a if wordnet.is_kind_of(name or "", kind) and not wordnet.same(name or "", kind)]
        )
    return tell_apart(names, wholes, kinds, phrases)


def clues_of(names: Names, graph: ConceptGraph) -> list[Clues]:
    """What a language model is told of each concept: its phrases, and the best phrase of each relative."""
    first = [phrases[0] if phrases else None for phrases in names.phrases]
    return [
        Clues(
            names.phrases[i],
            names.scores[i],
            parents=tuple(_named(first, graph.parents(i))),
            children=tuple(_named(first, graph.children(i))),
            contexts=tuple(_named(first, graph.context(i))),
        )
        for i in range(len(names))
    ]


def _named(names: Sequence[str | None], concepts: np.ndarray) -> list[str]:
    found = (names[concept] for concept in concepts.tolist())
    return [name for name in found if name is not None]
