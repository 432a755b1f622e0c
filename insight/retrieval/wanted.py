"""What is asked of concepts: all of some, any of some, none of some. Answered on postings and on codes alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from naming import word_key
from sae import SparseCodes
from sae.errors import InsightError

from ..concept import Concept
from ..edits.shown import shown_as
from .postings import Postings

AnyOf: TypeAlias = int | str | Sequence[int | str]
"""A concept by id or by name, or several of which any will do."""
AllOf: TypeAlias = int | str | Sequence[AnyOf]
"""One concept, or several (each perhaps a group) that must all be there."""


@dataclass(frozen=True)
class Wanted:
    """every: groups of concepts, from each of which one must be there; none: concepts that must not be.

    The score is the smallest over groups of the largest activation within a group; 0 where one of `none` is active.
    """

    every: tuple[tuple[int, ...], ...]
    none: tuple[int, ...]

    @classmethod
    def read(cls, concepts: Sequence[Concept], every: AllOf, none: AnyOf) -> Wanted:
        """From ids and names. What is shown as one concept (`insight.edits`) is asked for as one.

        A name means every concept that is called so. `InsightError` for an id or a name that there is not, for a
        concept that is hidden, and without anything to look for.
        """
        groups = tuple(_ids(concepts, asked) for asked in ([every] if isinstance(every, int | str) else every))
        if not groups or not all(groups):
            raise InsightError("expected at least one concept to look for, found none; `insight concepts` lists them")
        return cls(groups, _ids(concepts, none))

    def in_images(self, postings: Postings, *, without: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Images whose score is not 0, ascending, and their scores, from the largest activations in each image.

        without: also leave out images that hold one of `none` anywhere.
        """
        found = [reduce(_either, map(postings.of, group)) for group in self.every]
        images, scores = reduce(_both, sorted(found, key=lambda pair: len(pair[0])))  # the rarest first
        if without and len(images):
            for concept in self.none:
                kept = ~np.isin(images, postings.of(concept)[0], assume_unique=True)
                images, scores = images[kept], scores[kept]
        return images, scores

    def on_patches(self, codes: SparseCodes) -> Float[Tensor, " n"]:
        """The score of each row of codes."""
        scores = torch.stack([_largest(codes, group) for group in self.every]).amin(0)
        return torch.where(_largest(codes, self.none) > 0, 0.0, scores)

    def describe(self, concepts: Sequence[Concept]) -> str:
        """In words: "wheel and (car or bus), not boat"."""
        groups = [_joined(concepts, group) for group in self.every]
        texts = [f"({text})" if " or " in text and len(groups) > 1 else text for text in groups]
        return " and ".join(texts) + (f", not {_joined(concepts, self.none)}" if self.none else "")


def _ids(concepts: Sequence[Concept], asked: AnyOf) -> tuple[int, ...]:
    """All concepts that are shown as those asked for, ascending."""
    target = shown_as(concepts)
    asked = [asked] if isinstance(asked, int | str) else asked
    named = [concept for one in asked for concept in _named(concepts, one)]
    shown = [int(target[concept]) for concept in named]
    if -1 in shown:
        hidden = named[shown.index(-1)]
        raise InsightError(f"concept {hidden} is hidden; show it again by `insight edit MODEL show {hidden}`")
    return tuple(torch.isin(target, torch.tensor(shown, dtype=torch.int64)).nonzero()[:, 0].tolist())


def _named(concepts: Sequence[Concept], asked: int | str) -> list[int]:
    if isinstance(asked, int):
        if not 0 <= asked < len(concepts):
            raise InsightError(f"concept: expected an id of 0 to {len(concepts) - 1}, found {asked}")
        return [asked]
    if not isinstance(asked, str):
        raise InsightError(f"concept: expected an id or a name, found {asked!r}")
    shown = [concept for concept in concepts if concept.shown]
    found = [concept.id for concept in shown if word_key(concept.title) == word_key(asked)]
    if not found:
        near = get_close_matches(asked, dict.fromkeys(concept.title for concept in shown), 4)
        hint = f"there is {', '.join(near)}" if near else "look with `insight concepts MODEL --query TEXT`"
        raise InsightError(f"expected the name or the id of a concept, found {asked!r}; {hint}")
    return found


def _joined(concepts: Sequence[Concept], group: Iterable[int]) -> str:
    return " or ".join(dict.fromkeys(concepts[concept].title for concept in group if concepts[concept].shown))


def _either(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Images of one or the other, with the larger score."""
    images, place = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    scores: np.ndarray = np.zeros(len(images), dtype=np.float32)
    np.maximum.at(scores, place, np.concatenate([one[1], other[1]]))
    return images, scores


def _both(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Images of both, with the smaller score; `one` is the shorter."""
    if not len(other[0]):
        return other
    place = np.searchsorted(other[0], one[0]).clip(max=len(other[0]) - 1)
    kept = other[0][place] == one[0]
    return one[0][kept], np.minimum(one[1][kept], other[1][place[kept]])


def _largest(codes: SparseCodes, group: Sequence[int]) -> Float[Tensor, " n"]:
    """On each row the largest activation of the concepts of a group, 0 where none is active."""
    member = torch.zeros(codes.n_concepts, dtype=torch.bool, device=codes.device)
    member[list(group)] = True
    entries = member[codes.concepts.long()]
    rows, largest = codes.rows()[entries], codes.activations.new_zeros(codes.n)
    return largest.scatter_reduce(0, rows, codes.activations[entries], "amax")
