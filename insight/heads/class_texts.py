"""Classes as text: names, the words that stand for each, and where they lie in a backbone's text space.

In: classes as people give them, and a backbone with text. Out: a unit vector for every word, or one for every class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from naming import TEMPLATES, Vocabulary, WordList, word_key
from naming.words.phrases import clean_phrase
from sae.errors import InsightError

from ..backbones import Backbone

Classes: TypeAlias = Sequence[str] | Mapping[str, str | Sequence[str]]
"""Names of classes, or {name: words that stand for it}: {"person": ("person", "man", "woman"), "sky": "sky"}."""


@dataclass(frozen=True)
class ClassWords:
    """Names of classes and the words of each; no two classes share a word, in whatever form it is written."""

    names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, classes: Classes) -> ClassWords:
        """Classes as people give them, checked: at least one, none empty, none the same word as another.

        "cat" and "cats" are the same word (`naming.word_key`); within one class they may both stand. `InsightError`.
        """
        if isinstance(classes, str):
            raise InsightError(f"classes: expected several names, found one text {classes!r}; give a list or tuple")
        if isinstance(classes, Mapping):
            listed = [(name, [words] if isinstance(words, str) else list(words)) for name, words in classes.items()]
        else:
            listed = [(name, [name]) for name in classes]
        listed = [(_clean(name), [*dict.fromkeys(map(_clean, words))]) for name, words in listed]
        if not listed:
            raise InsightError("classes: expected at least one name, found none")
        owner: dict[str, tuple[str, str]] = {}  # from the key of a word to the class that has it, and how it wrote it
        for name, words in listed:
            if not name or not words or "" in words:
                raise InsightError(f"classes: expected names and words that are not empty, found {name!r}: {words}")
            for word in words:
                other, written = owner.setdefault(word_key(word), (name, word))
                if other != name:
                    raise InsightError(
                        f"classes: {name!r} and {other!r} share the word {word!r}"
                        + (f" (as {written!r})" if written != word else "")
                        + "; keep it in one of them"
                    )
        names = [name for name, _ in listed]
        keys = [word_key(name) for name in names]
        if len(set(keys)) < len(keys):
            again = next(i for i, key in enumerate(keys) if key in keys[:i])
            raise InsightError(
                f"classes: {names[keys.index(keys[again])]!r} and {names[again]!r} are the same name; keep one of them"
            )
        return cls(tuple(names), tuple(tuple(words) for _, words in listed))

    @property
    def class_of_word(self) -> Int64[Tensor, " v"]:
        """The class of each word, all words in order."""
        return torch.tensor([number for number, words in enumerate(self.words) for _ in words])


def word_vectors(backbone: Backbone, classes: ClassWords, templates: Sequence[str] = TEMPLATES) -> Float[Tensor, "v d"]:
    """A unit vector (float32, CPU) for every word of every class, in order: `classes.class_of_word` says whose it is.

    The mean of the unit vectors of the word in all templates ("a photo of {}"), renormalised.
    `InsightError` for a backbone without text or templates without {}.
    """
    if isinstance(templates, str):
        raise InsightError(f"templates: expected several texts, found one, {templates!r}; give a list or tuple")
    words = tuple(word for group in classes.words for word in group)
    phrases = WordList(words, (0.0,) * len(words))
    return Vocabulary.embed(phrases, backbone.encode_text, templates, progress=False).vectors


def class_vectors(backbone: Backbone, classes: Classes, templates: Sequence[str] = TEMPLATES) -> Float[Tensor, "C d"]:
    """One unit vector (float32, CPU) a class: the mean of the unit vectors of its words, renormalised.

    `InsightError` for classes that are empty or collide, a backbone without text or templates without {}.
    """
    read = ClassWords.read(classes)
    vectors = word_vectors(backbone, read, templates)
    total = vectors.new_zeros(len(read.names), vectors.shape[1]).index_add_(0, read.class_of_word, vectors)
    return F.normalize(total, dim=1)


def _clean(text: object) -> str:
    if not isinstance(text, str):
        raise InsightError(f"classes: expected names as texts, found {text!r}")
    return clean_phrase(text, "classes")
