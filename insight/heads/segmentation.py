"""A segmented photo: the class of every pixel, and what each concept put into its logit.

Made by `ConceptSegmenter.predict`; goes out as a dictionary (the JSON of `insight segment`) or a PNG. Nothing of the
size pixels × concepts is ever made: contributions are sums over patches until a few of them are asked for as maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64, Int16, Int64
from PIL import Image
from scipy.sparse import csr_array
from scipy.special import logsumexp

from sae.errors import InsightError
from sae.files import atomic_write, write_json

from .pixels import Pixels
from .surroundings import codes_around, mean_around_adjoint
from .token_head import TokenHead

if TYPE_CHECKING:
    from .regions import Region

LEAST_REGION = 0.005
"""Of the picture: smaller pieces are in `labels`, but not told of as regions."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the concepts put into the logit of a class at one pixel: Σ values + constant = logit.

    `concepts` are those of the patches around the pixel, the largest |value| first; `constant` is the share of the
    dictionary's bias (or of the trained intercept), which no concept answers for.
    """

    name: str
    concepts: Int64[np.ndarray, " a"]
    titles: tuple[str | None, ...]
    """Of each concept, None for one that an edit hides."""
    values: Float64[np.ndarray, " a"]
    constant: float
    logit: float


@dataclass(frozen=True, eq=False)
class ContributionMaps:
    """The logit of a class everywhere, as maps that sum to it: Σ maps + others + constant = logit."""

    name: str
    concepts: Int64[np.ndarray, " k"]
    titles: tuple[str | None, ...]
    maps: Float64[np.ndarray, "k H W"]
    others: Float64[np.ndarray, "H W"]
    """All concepts that have no map of their own."""
    constant: Float64[np.ndarray, "H W"]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of each pixel of a photo.

    `photo` is the photo itself, `pixels` says how patches became its pixels, `codes` [h·w, m] are the concepts of the
    patches, `titles` what the concepts are called (None: hidden by an edit). A logit is upsampled after it was made on
    the grid. Under upsampling that is linear in the maps (bilinear, jbu) contributions are those of the pixel; under
    any other they are those of the patch that holds it, and sum to the patch's logit: `exact_at_pixels` says which.
    """

    image: str
    photo: Image.Image = field(repr=False)
    classes: tuple[str, ...]
    codes: csr_array = field(repr=False)
    head: TokenHead = field(repr=False)
    pixels: Pixels = field(repr=False)
    titles: tuple[str | None, ...] = field(repr=False)
    background: float | None = None
    """The probability below which a pixel is background (-1); None: every pixel has a class."""
    backbone: str = ""

    @property
    def exact_at_pixels(self) -> bool:
        """Whether contributions are those of pixels; else they are those of patches."""
        return self.pixels.linear

    @property
    def on_grid(self) -> Segmentation:
        """The same with patches for pixels: nothing is upsampled, every array is [h, w]."""
        return replace(self, pixels=Pixels(self.pixels.grid, self.pixels.grid, None))

    @cached_property
    def labels(self) -> Int16[np.ndarray, "H W"]:
        """The class of each pixel, a place in `classes`; -1 for background."""
        label = np.zeros(self.pixels.size, np.int16)
        best = np.full(self.pixels.size, -np.inf)
        total = np.full(self.pixels.size, -np.inf)
        for first, scores in self.scores_in_parts():
            winner = scores.argmax(0)
            here = np.take_along_axis(scores, winner[None], axis=0)[0]
            label = np.where(here > best, winner + first, label).astype(np.int16)
            best = np.maximum(best, here)
            if self.background is not None:
                total = np.logaddexp(total, logsumexp(scores, axis=0))
        if self.background is not None:
            label[np.exp(best - total) < self.background] = -1
        return label

    @property
    def scores(self) -> Float32[np.ndarray, "C H W"]:
        """The logit of every class at every pixel. Made anew whenever asked for; of a large photo it is large."""
        return np.concatenate([scores.astype(np.float32) for _, scores in self.scores_in_parts()])

    def scores_in_parts(self) -> Iterator[tuple[int, Float64[np.ndarray, "c H W"]]]:
        """The scores of some classes at a time, with the number of the first: in bounded memory."""
        return self.pixels.enlarge_in_parts(self._word_maps, self.head.class_of_word)

    def share(self, name: str) -> float:
        """The share of the picture that a class takes."""
        return float((self.labels == self._number(name)).mean())

    def contributions(self, row: int, column: int, name: str | None = None) -> Contributions:
        """What each concept put into the logit of a class (default: the pixel's own, or most likely) at a pixel.

        With `exact_at_pixels` False: at the patch that holds the pixel. `InsightError` for a pixel outside the photo
        or a class that is not among `classes`.
        """
        height, width = self.pixels.size
        if not (0 <= row < height and 0 <= column < width):
            raise InsightError(f"expected a pixel of the {height} × {width} of the photo, found ({row}, {column})")
        if not self.pixels.linear:
            return self.on_grid.contributions(*self.pixels.patch_of(row, column), name)
        one = np.zeros(self.pixels.size)
        one[row, column] = 1
        weights = self.pixels.patch_weights(one)
        logits = np.einsum("hw,vhw->v", weights, self._word_maps)
        classes = self.head.best_words(logits[None])[0]
        number = int(classes.argmax()) if name is None else self._number(name)
        words = self.head.words_of(number)
        values, constant = self.sum_over_patches({words.start + int(logits[words].argmax()): weights})
        concepts = np.flatnonzero(values)
        concepts = concepts[np.argsort(-np.abs(values[concepts]), kind="stable")]
        titles = tuple(self.titles[k] for k in concepts)
        return Contributions(self.classes[number], concepts, titles, values[concepts], constant, float(classes[number]))

    def contribution_maps(self, name: str, *, top: int = 6) -> ContributionMaps:
        """The `top` concepts that put most into a class's logit (summed over the picture, without sign), as maps.

        Maps of the photo's size, or of the grid with `exact_at_pixels` False. Where a class has several words, each
        pixel's contributions are to the word that is best there.
        """
        if not self.pixels.linear:
            return self.on_grid.contribution_maps(name, top=top)
        number = self._number(name)
        words = self.head.words_of(number)
        h, w = self.pixels.grid
        best = self.best_word(number)[None] - words.start

        def at_best(on_grid: list[np.ndarray]) -> Float64[np.ndarray, "H W"]:
            """Of a map for each word, enlarged, the one of the word that is best at each pixel."""
            enlarged = self.pixels.enlarge(np.stack(on_grid).reshape(-1, h, w))
            return np.take_along_axis(enlarged, best, axis=0)[0]

        told = [self._told(word) for word in range(words.start, words.stop)]
        strength = np.max([np.asarray(np.abs(one).sum(0)) for one in told], axis=0)
        concepts = np.argsort(-strength, kind="stable")[: min(top, int((strength > 0).sum()))]
        maps = [at_best([one[:, [concept]].toarray() for one in told]) for concept in concepts]
        rest = np.ones(len(strength))
        rest[concepts] = 0
        others = at_best([np.asarray(one @ rest) for one in told])
        constant = at_best([self._scales * constant for constant in self.head.constants[words]])
        titles = tuple(self.titles[k] for k in concepts)
        found = np.stack(maps) if maps else np.zeros((0, *self.pixels.size))
        return ContributionMaps(name, concepts, titles, found, others, constant)

    def regions(self, *, least: float = LEAST_REGION) -> list[Region]:
        """Connected pieces of one class of at least that share of the picture, the largest first; see `Region`."""
        from .regions import find_regions

        return find_regions(self, least)

    def best_word(self, number: int) -> Int64[np.ndarray, "H W"]:
        """The word of a class that is best at each pixel."""
        words = self.head.words_of(number)
        if words.stop - words.start == 1:
            return np.full(self.pixels.size, words.start)
        return self.pixels.enlarge(self._word_maps[words]).argmax(0) + words.start

    def sum_over_patches(
        self, weights: Mapping[int, Float64[np.ndarray, "h w"]]
    ) -> tuple[Float64[np.ndarray, " m"], float]:
        """Of Σ_words Σ_patches weight · logit: what each concept puts into it, and the constant; they sum to it."""
        values, constant = np.zeros(self.head.n_concepts), 0.0
        for word, of_patch in weights.items():
            scaled = of_patch.ravel() * self._scales
            values += (self.codes.T @ scaled) * self.head.weights[:, word]
            if self.head.around is not None:
                values += (self.codes.T @ mean_around_adjoint(of_patch).ravel()) * self.head.around[:, word]
            constant += float(scaled.sum() * self.head.constants[word])
        return values, constant

    def to_dict(self) -> dict[str, Any]:
        """The segmentation as plain values, ready for JSON; docs/segmentation.md describes them."""
        from .run_lengths import run_lengths

        height, width = self.pixels.size
        listed = [*enumerate(self.classes)] + ([(-1, None)] if self.background is not None else [])
        return {
            "image": self.image,
            "backbone": self.backbone,
            "size": [height, width],
            "grid": list(self.pixels.grid),
            "upsampling": self.pixels.method if isinstance(self.pixels.method, str) else str(self.pixels.method),
            "exact_at_pixels": self.exact_at_pixels,
            "background": self.background,
            "classes": [
                {
                    "name": name,
                    "share": round(float((self.labels == number).mean()), 5),
                    "mask": run_lengths(self.labels == number),
                }
                for number, name in listed
            ],
            "regions": [region.to_dict() for region in self.regions()],
        }

    def save_json(self, path: Path | str) -> None:
        """Write `to_dict` as JSON."""
        write_json(path, self.to_dict())

    def save_png(self, path: Path | str, *, most: int = 6) -> None:
        """Write a picture: the photo, the classes laid over it, and the reasons of its `most` largest regions."""
        from ..render.segmentation_figure import draw_segmentation

        with atomic_write(path) as temporary:
            draw_segmentation(self, temporary, most=most)

    def _repr_html_(self) -> str:
        from ..render.notebook import segmentation_html

        return segmentation_html(self)

    @cached_property
    def _scales(self) -> Float64[np.ndarray, " t"]:
        return self.head.scales(self.codes)

    def _told(self, word: int) -> csr_array:
        """What each concept puts into the logit of a word on each patch, [h·w, m]."""
        told = self.codes.multiply(self._scales[:, None]).multiply(self.head.weights[:, word][None])
        if self.head.around is not None:
            told = told + codes_around(self.codes, self.pixels.grid).multiply(self.head.around[:, word][None])
        return csr_array(told)

    @cached_property
    def _word_maps(self) -> Float64[np.ndarray, "v h w"]:
        logits = self.head.word_logits(self.codes, self.pixels.grid)
        return np.ascontiguousarray(logits.T).reshape(-1, *self.pixels.grid)

    def _number(self, name: str) -> int:
        if name not in self.classes:
            raise InsightError(f"expected one of the classes {', '.join(self.classes)}, found {name!r}")
        return self.classes.index(name)
