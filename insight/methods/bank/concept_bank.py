"""ConceptBank: classes, and for each the concepts that speak for it, as texts; what every method learns from.

In: `{class: [descriptor, ...]}`, the common form of published banks (Menon and Vondrick, DEAL, Doubly Right, ViP). Out:
classes and concepts by number. Whoever scores, matches or counts uses these numbers and never compares texts: a class
"kit_fox" that prompts call "kit fox" was out of reach of a published evaluation that did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from sae.errors import InsightError
from sae.files import write_json

from .phrases import cleaned, in_words, same
from .prompts import check_length
from .reading import read_object

if TYPE_CHECKING:
    from ...backbones.text_towers import TextTower

SEVERAL = 5  # names that an error lists before it counts the others


@dataclass(frozen=True)
class ConceptBank:
    """C classes and R concepts; made by `of` and `read`, which check what they are given.

    classes: as prompts say them ("kit fox"); concepts: every descriptor of the bank once, in order of first appearance,
    as it was first written; of_class: the numbers of each class's concepts, in its order, as many as it has, or none;
    keys: the classes as the file said them ("kit_fox"), and as folders of labelled photos are called; repeats: how many
    descriptors were left out, because their class says the same already.
    """

    classes: tuple[str, ...]
    concepts: tuple[str, ...]
    of_class: tuple[tuple[int, ...], ...]
    keys: tuple[str, ...]
    repeats: int = field(default=0, compare=False)

    @classmethod
    def of(cls, descriptors: Mapping[str, Sequence[str]], *, place: str = "bank") -> ConceptBank:
        """From `{class: [descriptor, ...]}`; a list may be empty, see `require_concepts`.

        Spaces are cleaned, case is kept. Descriptors that differ by case or spaces are one concept. `InsightError`
        begins with `place`: no class; a class or descriptor that is no text, or empty; two classes of the same words.
        """
        if not isinstance(descriptors, Mapping):
            raise InsightError(
                f"{place}: expected {{class: [descriptor, ...]}}, found {type(descriptors).__name__}; give each"
                " class its list"
            )
        return cls._of_pairs(descriptors.items(), place)

    @classmethod
    def read(cls, path: Path | str) -> ConceptBank:
        """From a JSON file `{class: [descriptor, ...]}`; `import_bank` reads other forms. `InsightError` as of `of`."""
        return cls.of(read_object(path), place=str(path))

    @classmethod
    def from_dict(cls, descriptors: Any) -> ConceptBank:
        """From what `to_dict` gave."""
        return cls.of(descriptors)

    def to_dict(self) -> dict[str, list[str]]:
        """`{key: [descriptor, ...]}`: `from_dict` makes the same bank of it."""
        return {key: self.concepts_of(number) for number, key in enumerate(self.keys)}

    def save(self, path: Path | str) -> None:
        """Write the JSON file that `read` takes, whole or not at all."""
        write_json(path, self.to_dict())

    @property
    def membership(self) -> Bool[Tensor, "C R"]:
        """Whether a concept is one of the class's."""
        found = torch.zeros(len(self.classes), len(self.concepts), dtype=torch.bool)
        for number, concepts in enumerate(self.of_class):
            found[number, list(concepts)] = True
        return found

    def padded(self) -> tuple[Int64[Tensor, "C K"], Bool[Tensor, "C K"]]:
        """Each class's concepts in its order, and which of them are there: K is the longest list, padding is concept 0
        with a mask of False."""
        longest = max(map(len, self.of_class))
        index = torch.zeros(len(self.classes), longest, dtype=torch.int64)
        mask = torch.zeros(len(self.classes), longest, dtype=torch.bool)
        for number, concepts in enumerate(self.of_class):
            index[number, : len(concepts)] = torch.tensor(concepts, dtype=torch.int64)
            mask[number, : len(concepts)] = True
        return index, mask

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over classes and concepts.

        Another order of classes or descriptors, which are numbered by it, is another bank; how a file is laid out or
        escapes its letters, spaces around words, repeats, and underscores in place of spaces do not count.
        """
        said = [[words, self.concepts_of(number)] for number, words in enumerate(self.classes)]
        return hashlib.sha256(json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()

    def concepts_of(self, number: int) -> list[str]:
        """The descriptors of class `number`, in its order."""
        return [self.concepts[concept] for concept in self.of_class[number]]

    def index(self, name: str) -> int:
        """The number of a class, by its key or its words, in any case; `InsightError` for one that is not there."""
        found = self._class_numbers.get(same(in_words(name)))
        if found is None:
            raise InsightError(
                f"expected one of the {len(self.classes)} classes of the bank ({_some(self.keys)}), found {name!r}"
            )
        return found

    def concept_index(self, text: str) -> int:
        """The number of a concept, in any case; `InsightError` for one that is not there."""
        found = self._concept_numbers.get(same(" ".join(text.split())))
        if found is None:
            raise InsightError(
                f"expected one of the {len(self.concepts)} concepts of the bank ({_some(self.concepts)}), found"
                f" {text!r}"
            )
        return found

    def require_concepts(self, least: int = 1) -> None:
        """`InsightError`, with the names, unless every class has at least so many concepts."""
        short = [f"{key!r} ({len(own)})" for key, own in zip(self.keys, self.of_class, strict=True) if len(own) < least]
        if short:
            raise InsightError(
                f"expected at least {least} descriptor{'s' if least > 1 else ''} for every class, found too few for"
                f" {_some(short)}; add descriptors, or leave these classes out"
            )

    def check_length(self, tower: TextTower, prompt: Callable[[str, str], str]) -> None:
        """`InsightError` if a text `prompt(class, descriptor)` has more tokens than the tower reads.

        Prompts that name several concepts are checked by `insight.methods.bank.check_length`.
        """
        check_length(
            tower,
            (prompt(words, said) for number, words in enumerate(self.classes) for said in self.concepts_of(number)),
        )

    def first(self, k: int) -> ConceptBank:
        """The bank with the first k concepts of each class, or all where it has fewer (DEAL takes 5 of 6)."""
        if k < 1:
            raise InsightError(f"first: expected at least 1 concept a class, found k={k}")
        return self._with([self.concepts_of(number)[:k] for number in range(len(self.classes))])

    def subset(self, classes: Iterable[str]) -> ConceptBank:
        """Some of the classes, by key or words, in the order given; concepts are numbered anew."""
        if isinstance(classes, str):
            raise InsightError(f"subset: expected several classes, found one text {classes!r}; give a list")
        numbers = [self.index(name) for name in classes]
        return self._of_pairs([(self.keys[number], self.concepts_of(number)) for number in numbers], "subset")

    def shuffled(self, seed: int) -> ConceptBank:
        """A control: every class has the concepts of another one, along a random cycle of all classes.

        No class keeps its list. Concepts are numbered anew. `InsightError` for a bank of one class.
        """
        count = len(self.classes)
        if count < 2:
            raise InsightError(f"shuffled: expected at least two classes, found {self.keys[0]!r} alone")
        cycle = np.random.default_rng(seed).permutation(count)
        giver = np.empty(count, dtype=np.int64)
        giver[cycle] = np.roll(cycle, 1)
        return self._with([self.concepts_of(number) for number in giver.tolist()])

    def random_words(self, vocabulary: Iterable[str], seed: int) -> ConceptBank:
        """A control: each concept is another phrase of the vocabulary, wherever it stands; none of the bank's own.

        So classes have as many concepts as before, and share as many. `InsightError` for too small a vocabulary.
        """
        own = {*map(same, self.concepts)}
        phrases = {same(phrase): phrase for phrase in (cleaned(phrase, "vocabulary") for phrase in vocabulary)}
        strange = [phrase for key, phrase in phrases.items() if key not in own]
        if len(strange) < len(self.concepts):
            raise InsightError(
                f"random_words: expected at least {len(self.concepts)} phrases that the bank does not have, found"
                f" {len(strange)}; give a larger vocabulary"
            )
        drawn = np.random.default_rng(seed).permutation(len(strange)).tolist()
        return self._with([[strange[drawn[concept]] for concept in own] for own in self.of_class])

    def _with(self, lists: Sequence[Sequence[str]]) -> ConceptBank:
        """The same classes with other concepts."""
        return self._of_pairs(zip(self.keys, lists, strict=True), "bank")

    @classmethod
    def _of_pairs(cls, pairs: Iterable[tuple[str, Sequence[str]]], place: str) -> ConceptBank:
        keys: dict[str, str] = {}  # from what tells classes apart to the class as it was written
        numbers: dict[str, int] = {}  # from what tells concepts apart to their numbers
        concepts: list[str] = []
        of_class: list[tuple[int, ...]] = []
        repeats = 0
        for written, descriptors in pairs:
            key = cleaned(written, f"{place}: a class")
            words = same(in_words(key))
            if not words:
                raise InsightError(f"{place}: expected a class with a name, found {key!r}; give it one")
            if words in keys:
                raise InsightError(
                    f"{place}: classes {keys[words]!r} and {key!r} are both {in_words(key)!r} in words; rename one, or"
                    " join them"
                )
            keys[words] = key
            own: dict[int, None] = {}
            for text in _listed(descriptors, f"{place}: class {key!r}"):
                text = cleaned(text, f"{place}: class {key!r}, a descriptor")
                number = numbers.setdefault(same(text), len(concepts))
                if number == len(concepts):
                    concepts.append(text)
                repeats += number in own
                own[number] = None
            of_class.append(tuple(own))
        if not keys:
            raise InsightError(f"{place}: expected at least one class, found none; add one with its descriptors")
        found = tuple(keys.values())
        return cls(tuple(map(in_words, found)), tuple(concepts), tuple(of_class), found, repeats)

    @cached_property
    def _class_numbers(self) -> dict[str, int]:
        return {same(words): number for number, words in enumerate(self.classes)}

    @cached_property
    def _concept_numbers(self) -> dict[str, int]:
        return {same(text): number for number, text in enumerate(self.concepts)}


def _listed(descriptors: Any, place: str) -> Sequence[Any]:
    if isinstance(descriptors, str) or not isinstance(descriptors, Sequence):
        raise InsightError(
            f"{place}: expected a list of descriptors, found {descriptors!r:.80}; write it as"
            ' ["two wings", ...], or read a published form by import_bank'
        )
    return descriptors


def _some(names: Sequence[str]) -> str:
    more = len(names) - SEVERAL
    return ", ".join(names[:SEVERAL]) + (f" and {more} more" if more > 0 else "")
