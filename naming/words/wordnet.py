"""Whether two words mean the same, a kind of the other, or a part of it: the nouns of WordNet 3.0, shipped.

In: phrases, as names and labels hold them. Out: their senses, how near those are (Wu-Palmer), and what stands above
them or has them as a part. Loading reads one file of 1.3 MB (`scripts/build_wordnet.py` makes it); the rest is worked
out when asked for, and kept.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import as_file, files
from itertools import islice, product

import numpy as np

from sae.errors import InsightError

from ..npz import read_npz
from .wordforms import word_key

ARRAYS = (
    "numbers lemmas sense_counts senses uses hypernym_counts hypernyms meronym_counts meronyms plurals singulars"
).split()
SENSES = 3
LEAST_SHARE = 0.02
"""A word on a photograph means one of its first senses, and none that is next to never used: a dog is no person,
though WordNet's third sense of "dog" is a fellow (of 42 dogs in tagged text none was)."""
SHALLOWEST = 6
"""Depth from which on a whole passes its parts on. What stands higher (a whole, an artifact) says nothing of a coat."""
PART_STEPS = 2
"""From a part up to what a whole is listed to have. Further up stands what much else is a kind of too."""
LONGEST = 9
"""Words of the longest noun."""
BEHIND_HEAD = re.compile(r" (?:of|in|on|at|with|for|from|by|near|under|over|behind|against|without|inside|to) .*")


@dataclass(frozen=True)
class Synset:
    """A sense: what all its lemmas mean."""

    number: str
    """WordNet 3.0's own, as ImageNet's classes have it ("n02084071")."""
    lemmas: tuple[str, ...]
    """Lower case, those first for which this is the commonest sense."""
    hypernyms: tuple[int, ...]
    """What it is a kind, or an instance, of."""


class WordNet:
    """82,115 senses of 117,798 nouns. A sense is a number from 0; `WordNet.load()` gives the one that is shipped."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        """`arrays`: those of `nouns.npz`. `numbers` [s] (rising) and, as texts of lines, `lemmas` [w] (rising).

        `senses`, `hypernyms` and `meronyms` (those of parts, members and substance) are flat lists of synsets, the
        `..._counts` say how many belong to each lemma or synset. `uses`: how often each of `senses` was found in
        tagged text. `plurals` and `singulars` are irregular forms.
        """
        self._numbers = arrays["numbers"]
        self._lemmas = _lines(arrays["lemmas"])
        self._place = dict(zip(self._lemmas, range(len(self._lemmas))))
        self._senses = _Rows(arrays["sense_counts"], arrays["senses"])
        self._uses = _Rows(arrays["sense_counts"], arrays["uses"])
        self._hypernyms = _Rows(arrays["hypernym_counts"], arrays["hypernyms"])
        self._meronyms = _Rows(arrays["meronym_counts"], arrays["meronyms"])
        self._singular = dict(zip(_lines(arrays["plurals"]), _lines(arrays["singulars"])))
        self._depth: dict[int, int] = {}
        self._above: dict[int, dict[int, int]] = {}
        self._all_parts: dict[int, set[int]] = {}
        self._by_key: dict[str, dict[str, list[str]]] = {}
        self._meanings: dict[str, tuple[int, ...]] = {}

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> WordNet:
        """The shipped nouns, read once."""
        with as_file(files("naming") / "wordnet" / "nouns.npz") as path:
            return cls(read_npz(path, ARRAYS, "install the package again"))

    def __len__(self) -> int:
        return len(self._numbers)

    def senses(self, phrase: str) -> tuple[int, ...]:
        """The senses of a phrase, commonest first; none where WordNet has no noun for it.

        First those of the word as it is spelled, then those of its other forms (plural and singular, hyphen and space,
        British and American: `word_key`, and WordNet's irregular plurals). A phrase unknown as a whole means what its
        head does: what stands before the first preposition, and of that the longest known end ("wheel of a car" is a
        wheel, "red fire engine" a fire engine).
        """
        words = self._known(phrase)
        return tuple(dict.fromkeys(sense for word in words for sense in self._senses[word]))

    def meanings(self, phrase: str) -> tuple[int, ...]:
        """Of the senses the first 3, less those that carry under a fiftieth of the word's use in tagged text."""
        found = self._meanings.get(phrase)
        if found is None:
            senses = (sense for word in self._known(phrase) for sense in self._used(word))
            found = tuple(islice(dict.fromkeys(senses), SENSES))
            self._meanings[phrase] = found
        return found

    def synset(self, sense: int) -> Synset:
        """What WordNet says of a sense."""
        lemmas = tuple(self._lemmas[word] for word in self._lemmas_of[sense])
        return Synset(f"n{self._numbers[sense]:08d}", lemmas, tuple(self._hypernyms[sense]))

    def numbered(self, number: str) -> int:
        """The sense of a WordNet 3.0 number ("n02084071"). `InsightError` when no noun has it."""
        digits = number.removeprefix("n")
        place = int(np.searchsorted(self._numbers, int(digits))) if digits.isdecimal() else len(self)
        if place == len(self) or self._numbers[place] != int(digits):
            raise InsightError(f"WordNet: expected the number of a noun, as n02084071, found {number[:20]!a}")
        return place

    def depth(self, sense: int) -> int:
        """Senses on the longest way up to the root, both ends counted: 1 for "entity", 14 for "dog"."""
        found = self._depth.get(sense)
        if found is None:
            found = 1 + max(map(self.depth, self._hypernyms[sense]), default=0)
            self._depth[sense] = found
        return found

    def ancestors(self, sense: int) -> Mapping[int, int]:
        """The sense itself and all that it is a kind (or instance) of, each with the fewest steps up to it."""
        found = self._above.get(sense)
        if found is None:
            found = {sense: 0}
            for parent in self._hypernyms[sense]:
                for above, steps in self.ancestors(parent).items():
                    found[above] = min(steps + 1, found.get(above, steps + 1))
            self._above[sense] = found
        return found

    def wu_palmer(self, one: int, other: int) -> float:
        """Wu-Palmer similarity of two senses, in (0, 1]: 2 d / (2 d + s1 + s2) (Wu and Palmer, 1994).

        d is the depth of their deepest common ancestor (by the longest way, the root 1), s1 and s2 the fewest steps up
        to it; of several that deep the nearest. The usual form: dog and cat 0.857 (6/7), by the carnivore above both.
        """
        first, second = self.ancestors(one), self.ancestors(other)
        common = [(self.depth(sense), -steps - second[sense]) for sense, steps in first.items() if sense in second]
        depth, steps = max(common)
        return 2 * depth / (2 * depth - steps)

    def similarity(self, one: str, other: str) -> float:
        """The best Wu-Palmer similarity of meanings of two phrases: 1 for forms of one word, 0 if one is unknown."""
        if word_key(one) == word_key(other):
            return 1.0
        pairs = product(self.meanings(one), self.meanings(other))
        return max((self.wu_palmer(i, j) for i, j in pairs), default=0.0)

    def same(self, one: str, other: str) -> bool:
        """Whether two phrases are forms of one word, or share one of their meanings ("sofa" and "couch")."""
        if word_key(one) == word_key(other):
            return True
        return not set(self.meanings(one)).isdisjoint(self.meanings(other))

    def is_kind_of(self, kind: str, of: str) -> bool:
        """Whether the two are the same, or `of` stands above `kind` ("beagle" is a kind of "dog"), by `meanings`."""
        if self.same(kind, of):
            return True
        above = set(self.meanings(of))
        return any(not above.isdisjoint(self.ancestors(sense)) for sense in self.meanings(kind))

    def is_part_of(self, part: str, of: str) -> bool:
        """Whether `of` has `part` as a part, a member or its substance, in one of the meanings of each.

        What has a part has the parts of that part too (an arm has a hand, that has fingers); a kind has the parts of
        what it is a kind of, from depth 6 down (a garment has sleeves, so a coat has); and what is a kind of a listed
        part counts as it, up to two steps (a paw is an animal's foot).
        """
        above = (self.ancestors(sense).items() for sense in self.meanings(part))
        near = {sense for steps_up in above for sense, steps in steps_up if steps <= PART_STEPS}
        return any(not near.isdisjoint(self._parts(sense)) for sense in self.meanings(of))

    def _parts(self, whole: int) -> set[int]:
        """All that the whole has, parts of parts and what it has as a kind of something included."""
        found = self._all_parts.get(whole)
        if found is None:
            found, waiting = set(), {whole}
            while waiting:
                kinds = {(one, above) for one in waiting for above in self.ancestors(one)}
                having = {above for one, above in kinds if above == one or self.depth(above) >= SHALLOWEST}
                waiting = {part for sense in having for part in self._meronyms[sense]} - found
                found |= waiting
            self._all_parts[whole] = found
        return found

    def _used(self, word: int) -> list[int]:
        """Its first 3 senses that carry their share; 1/2, 1/4, ... stand for the counts of untagged words."""
        weights = [uses + 0.5 ** (i + 1) for i, uses in enumerate(self._uses[word])]
        pairs = zip(self._senses[word], weights[:SENSES])
        return [sense for sense, weight in pairs if weight >= LEAST_SHARE * sum(weights)]

    def _known(self, phrase: str) -> list[int]:
        """Lemmas (their places) that the phrase, or else its head, is a form of; that of the same spelling first."""
        text = " ".join(phrase.lower().replace("_", " ").split())
        return next(filter(None, map(self._lemmas_like, _heads(text))), [])

    def _lemmas_like(self, phrase: str) -> list[int]:
        words = dict.fromkeys([phrase, self._singular.get(phrase, phrase), *self._other_forms(phrase)])
        return [self._place[word] for word in words if word in self._place]

    def _other_forms(self, phrase: str) -> list[str]:
        """Lemmas of the same key, and those of plurals that the key does not undo ("buses", "movies")."""
        if not phrase:
            return []
        letter = phrase[0]  # a key begins as its phrase does, so that one letter's lemmas are enough
        if letter not in self._by_key:
            keys: dict[str, list[str]] = {}
            first, last = bisect_left(self._lemmas, letter), bisect_left(self._lemmas, letter + "\uffff")
            for lemma in self._lemmas[first:last]:
                keys.setdefault(word_key(lemma), []).append(lemma)
            self._by_key[letter] = keys
        key = word_key(phrase)
        forms = self._by_key[letter].get(key, [])
        if _joined(phrase) == key:  # a person is no people, though people are persons
            forms = [form for form in forms if _joined(form) == key]
        endings = {"ses": "s", "ies": "ie"}
        return [*forms, *(phrase[:-3] + single for plural, single in endings.items() if phrase.endswith(plural))]

    @cached_property
    def _lemmas_of(self) -> _Rows:
        return self._senses.turned(len(self))


class _Rows:
    """Lists of numbers, one behind the other in a flat array."""

    def __init__(self, counts: np.ndarray, values: np.ndarray) -> None:
        self._counts, self._values = counts, values
        self._offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).tolist()

    def __getitem__(self, row: int) -> list[int]:
        return self._values[self._offsets[row] : self._offsets[row + 1]].tolist()

    def turned(self, rows: int) -> _Rows:
        """For each value the rows that hold it: those in which it stands first come first."""
        row = np.repeat(np.arange(len(self._counts)), self._counts)
        place = np.arange(len(row)) - np.repeat(self._offsets[:-1], self._counts)
        return _Rows(np.bincount(self._values, minlength=rows), row[np.lexsort((row, place, self._values))])


def _lines(text: np.ndarray) -> list[str]:
    return text.tobytes().decode().split("\n")


def _joined(phrase: str) -> str:
    return phrase.replace(" ", "").replace("-", "")


def _heads(phrase: str) -> Iterator[str]:
    """The phrase; then what stands before its preposition, and ever shorter ends of that."""
    yield phrase
    words = re.split(BEHIND_HEAD, phrase, maxsplit=1)[0].split(" ")
    for start in range(max(0, len(words) - LONGEST), len(words)):
        yield " ".join(words[start:])
