"""Pixels labelled from patches: with texts alone and with trained heads, by opaque features and by dictionaries.

In: `Masked` sets and dictionaries. Out: for each reader of patches one table of (truth, answer) over pixels a test
photograph. A reader's scores of patches are drawn out bilinearly to the pixels of the photographs' centre square.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from benchmarks.concepts.material import NAMELESS
from benchmarks.heads.dictionaries import Made
from benchmarks.heads.masked import Masked
from benchmarks.heads.patch_heads import Patches, PatchHead, Rows, fit_head, shuffled, stacked
from benchmarks.heads.settings import HEAD_STRENGTHS, SIDE
from benchmarks.probes.metrics import VOID, confusion
from insight.heads.surroundings import mean_around, with_surroundings
from sae import SparseCodes

OPAQUE, SHUFFLED = "opaque features", "opaque features, labels shuffled"
OPEN, TRAINED, AROUND = "open vocabulary", "trained", "trained, with surroundings"
"""By text; a head on each patch by itself; and one that also has the mean over the 3 × 3 patches around it, as
`ConceptSegmenter` has."""


@dataclass
class Reader:
    """Patches as one dictionary has them; without one, as they are.

    texts: unit vectors [C, d] of the classes, None where nothing is asked by text. trained: which heads it has; `heads`
    are there once they were.
    """

    name: str
    made: Made | None
    texts: Tensor | None
    trained: tuple[str, ...] = (TRAINED, AROUND)
    heads: dict[str, PatchHead] = field(default_factory=dict)
    kept: dict[str, list[Rows]] = field(default_factory=dict)

    def codes(self, features: Tensor) -> SparseCodes | None:
        return None if self.made is None else self.made.dictionary.encode(features)

    def take(self, features: Tensor, grid: tuple[int, int], chosen: np.ndarray) -> None:
        """Keep some of the patches of whole photographs for training."""
        for how, rows in self._rows(self.codes(features), features, grid).items():
            self.kept.setdefault(how, []).append(rows[chosen])

    def train(self, patches: Patches, n_classes: int, strengths: Mapping[str, float] | None = None) -> None:
        """Fit the heads on the patches kept, with these strengths (None: chosen)."""
        for how, rows in self.kept.items():
            given = HEAD_STRENGTHS if strengths is None else (strengths[how],)
            self.heads[how] = fit_head(stacked(rows), patches, n_classes, given)
        self.kept = {}

    def scores(self, features: Tensor, grid: tuple[int, int]) -> dict[str, Tensor]:
        """[n, C] of the patches of whole photographs, by how they came about."""
        codes, found = self.codes(features), {}
        if self.texts is not None:
            seen = features if codes is None or self.made is None else self.made.dictionary.decode(codes)
            found[OPEN] = normalize(seen, dim=1) @ self.texts.T
        for how, rows in self._rows(codes, features, grid).items():
            found[how] = self.heads[how].scores(rows)
        return found

    def _rows(self, codes: SparseCodes | None, features: Tensor, grid: tuple[int, int]) -> dict[str, Rows]:
        """What each head is given."""
        own = features.numpy() if codes is None else codes.to_scipy()
        found: dict[str, Rows] = {TRAINED: own} if TRAINED in self.trained else {}
        if AROUND in self.trained:
            found[AROUND] = _with_surroundings(own, grid)
        return found


@torch.no_grad()
def segment(masked: Masked, readers: Sequence[Reader]) -> list[dict[str, Tensor]]:
    """For each reader int64 [photos, C, C] of (truth, answer) over pixels, by how they came about."""
    n_classes = len(masked.labels)
    patches = Patches.of(masked.train)
    tokens, grid = masked.train.cache.tokens_per_image, masked.train.cache.grid
    learning = [reader for reader in readers if reader.trained]
    for places, features in masked.train.chunks() if learning else ():
        chosen = patches.within(places, tokens)
        for reader in learning:
            reader.take(features, grid, chosen)
    for reader in learning:
        if reader.name == SHUFFLED:  # of the strengths that the true labels led to
            reader.train(shuffled(patches), n_classes, {how: head.strength for how, head in readers[0].heads.items()})
        else:
            reader.train(patches, n_classes)
    return _tables(masked, readers)


def _tables(masked: Masked, readers: Sequence[Reader]) -> list[dict[str, Tensor]]:
    """Where no text can call a class by its name ("background"), texts are not asked about its pixels."""
    photos = masked.test
    tables: list[dict[str, list[Tensor]]] = [{} for _ in readers]
    tokens, grid = photos.cache.tokens_per_image, photos.cache.grid
    n_classes = len(masked.labels)
    nameless = torch.tensor([i for i, label in enumerate(masked.labels) if label in NAMELESS], dtype=torch.int64)
    for places, features in photos.chunks():
        truth = torch.stack([photos.pixels(photo) for photo in range(places.start, places.stop)])
        named = truth.where(~torch.isin(truth, nameless), VOID)
        for reader, found in zip(readers, tables, strict=True):
            for how, scores in reader.scores(features, grid).items():
                if how == OPEN:
                    scores[:, nameless] = -2.0  # below every cosine
                answers = torch.stack([drawn_out(one, grid, SIDE) for one in scores.split(tokens)])
                found.setdefault(how, []).append(confusion(answers, named if how == OPEN else truth, n_classes))
    return [{how: torch.cat(parts) for how, parts in found.items()} for found in tables]


def _with_surroundings(rows: Rows, grid: tuple[int, int]) -> Rows:
    """Rows [n, F] of whole photographs with the mean rows around them, [n, 2F]."""
    if not isinstance(rows, np.ndarray):
        return with_surroundings(rows, grid)
    maps = rows.reshape(-1, *grid, rows.shape[1]).transpose(0, 3, 1, 2)
    return np.hstack([rows, mean_around(maps).transpose(0, 2, 3, 1).reshape(rows.shape).astype(rows.dtype)])


def drawn_out(scores: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """[side, side] best classes of pixels, from scores [h·w, C] of patches drawn out bilinearly.

    The same as `insight.upsampling.upsample`, as products along columns and rows with the classes last: several times
    as fast, which is what this benchmark spends its time on.
    """
    down, right = (_stretch(cells, side) for cells in grid)
    rows = (down @ scores.reshape(grid[0], -1)).reshape(side, grid[1], -1)
    return (right @ rows).argmax(-1)


@lru_cache
def _stretch(cells: int, side: int) -> Tensor:
    """[side, cells]: the weights with which a pixel takes from the cells along one side."""
    return interpolate(torch.eye(cells)[None], size=side, mode="linear", align_corners=False)[0].T.contiguous()
