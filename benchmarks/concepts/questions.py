"""All that a dictionary is asked: what its concepts are called by every mode, and whether its edges are right.

In: `Asked` and a text space; then one `Dictionary` after the other. Out: `Replies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from benchmarks.concepts import related
from benchmarks.concepts.again import found_again
from benchmarks.concepts.answers import Answers, agreeing, first_keys, judge
from benchmarks.concepts.dictionary import Dictionary
from benchmarks.concepts.heard import Hearing
from benchmarks.concepts.material import NAMELESS, Asked
from benchmarks.concepts.modes import BEST, MODES, Named
from benchmarks.concepts.references import Labelled, label_concepts
from benchmarks.concepts.rows import BOTH, CLOSED, EVIDENCE, OPEN, SEEDS
from benchmarks.concepts.texts import TextSpace
from naming import Vocabulary, WordList, WordNet, load_phrases

Key = tuple[str, str]
"""Which concepts, and which vocabulary."""


@dataclass(frozen=True)
class Replies:
    """Of one dictionary."""

    labelled: list[Labelled]
    answers: dict[Key, dict[str, Answers]]
    """By concepts and vocabulary, the answers of each mode."""
    verdicts: dict[related.Key, related.Verdicts]
    named: dict[str, Named]
    """From all words, of each mode."""
    decoder: Tensor


class Questions:
    """The vocabularies and photographs that every dictionary is asked about. `few`: only so many words."""

    def __init__(self, asked: Asked, texts: TextSpace, few: int | None = None) -> None:
        self._asked, self._texts, self._hearing = asked, texts, Hearing(asked, texts)
        english = load_phrases()
        self.open: Vocabulary = texts.vocabulary(WordList(english.phrases[:few], english.zipf[:few]))
        self._closed: dict[str, Vocabulary] = {}
        for masked in asked.masked:
            labels = tuple(label for label in masked.labels if label not in NAMELESS)
            self._closed[masked.name] = texts.vocabulary(WordList(labels, (0.0,) * len(labels)))

    def ask(self, dictionary: Dictionary) -> Replies:
        """Everything that one dictionary can be asked by itself."""
        asked, wordnet = self._asked, WordNet.load()
        labelled = [label_concepts(dictionary.codes, masked) for masked in asked.masked]
        named = {mode: name(dictionary.whole, self.open) for mode, name in MODES.items()}
        answers: dict[Key, dict[str, Answers]] = {}
        for mode, name in MODES.items():
            closed = [name(dictionary.whole, self._closed[some.data]) for some in labelled]
            for vocabulary, given in ((OPEN, [named[mode]] * len(labelled)), (CLOSED, closed)):
                parts = [judge(one, some, self._texts, wordnet) for one, some in zip(given, labelled, strict=True)]
                for some, part in zip(labelled, parts, strict=True):
                    answers.setdefault((some.data, vocabulary), {})[mode] = part
                answers.setdefault((BOTH, vocabulary), {})[mode] = Answers.join(parts)
            lasting = dictionary.lasting
            first, second = (first_keys(name(half, self.open), lasting) for half in dictionary.halves)
            answers.setdefault((EVIDENCE, OPEN), {})[mode] = agreeing(named[mode], lasting, (first, second))
        answers[self._hearing.name, OPEN] = self._hearing.ask(dictionary.codes, named)
        verdicts = related.judge_edges(dictionary, asked.masked, labelled, named[BEST].names)
        return Replies(labelled, answers, verdicts, named, dictionary.whole.sae.decoder.detach())


def compare_seeds(replies: Sequence[Replies]) -> list[dict[str, Answers]]:
    """For each dictionary and mode, whether a concept that the next dictionary has as well is called the same there."""
    found = []
    for one, other in zip(replies, np.roll(np.array(replies, dtype=object), -1), strict=True):
        concepts, again = found_again(one.decoder, other.decoder)
        found.append(
            {
                mode: agreeing(named, concepts, (first_keys(named, concepts), first_keys(other.named[mode], again)))
                for mode, named in one.named.items()
            }
        )
    return found


def by_table(replies: Sequence[Replies]) -> dict[Key, dict[str, list[Answers]]]:
    """By concepts and vocabulary, the answers of each mode, dictionary by dictionary."""
    tables = {
        key: {mode: [one.answers[key][mode] for one in replies] for mode in of_modes}
        for key, of_modes in replies[0].answers.items()
    }
    if len(replies) > 1:
        compared = compare_seeds(replies)
        tables[SEEDS, OPEN] = {mode: [one[mode] for one in compared] for mode in compared[0]}
    return tables
