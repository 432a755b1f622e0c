"""Pixels labelled from patches: with texts alone and with trained heads, by opaque features and by dictionaries.

In: `Masked` sets and dictionaries. Out: for each reader of patches one table of (truth, answer) over pixels a test
photograph. A reader's scores of patches are drawn out bilinearly to the pixels of the photographs' centre square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from benchmarks.concepts.material import NAMELESS
from benchmarks.heads.dictionaries import Made
from benchmarks.heads.masked import Masked
from benchmarks.heads.patch_heads import Patches, PatchHead, Rows, fit_head, shuffled, stacked
from benchmarks.heads.settings import HEAD_STRENGTHS, SIDE
from benchmarks.probes.metrics import VOID, confusion
from sae import SparseCodes

OPAQUE, SHUFFLED = "opaque features", "opaque features, labels shuffled"
OPEN, TRAINED = "open vocabulary", "trained"


@dataclass
class Reader:
    """Patches as one dictionary has them; without one, as they are.

    texts: unit vectors [C, d] of the classes, None where nothing is asked by text. head: None before it is trained.
    """

    name: str
    made: Made | None
    texts: Tensor | None
    trains: bool = True
    head: PatchHead | None = None
    rows: list[Rows] = field(default_factory=list)

    def codes(self, features: Tensor) -> SparseCodes | None:
        return None if self.made is None else self.made.dictionary.encode(features)

    def take(self, features: Tensor, chosen: Tensor) -> None:
        """Keep some of these patches for training."""
        codes = self.codes(features[chosen])
        self.rows.append(_rows(codes, features[chosen]))

    def train(self, patches: Patches, n_classes: int, strengths: Sequence[float] = HEAD_STRENGTHS) -> None:
        """Fit the head on the patches kept."""
        self.head = fit_head(stacked(self.rows), patches, n_classes, strengths)
        self.rows = []

    def scores(self, features: Tensor) -> dict[str, Tensor]:
        """[n, C] by how they came about."""
        codes, found = self.codes(features), {}
        if self.texts is not None:
            seen = features if codes is None or self.made is None else self.made.dictionary.decode(codes)
            found[OPEN] = normalize(seen, dim=1) @ self.texts.T
        if self.head is not None:
            found[TRAINED] = self.head.scores(_rows(codes, features))
        return found


@torch.no_grad()
def segment(masked: Masked, readers: Sequence[Reader]) -> list[dict[str, Tensor]]:
    """For each reader int64 [photos, C, C] of (truth, answer) over pixels, by how they came about."""
    n_classes = len(masked.labels)
    patches = Patches.of(masked.train)
    tokens = masked.train.cache.tokens_per_image
    learning = [reader for reader in readers if reader.trains]
    for places, features in masked.train.chunks() if learning else ():
        chosen = torch.from_numpy(patches.within(places, tokens))
        for reader in learning:
            reader.take(features, chosen)
    for reader in learning:
        if reader.name == SHUFFLED:  # of the strength that the true labels led to
            reader.train(shuffled(patches), n_classes, [one.head.strength for one in readers[:1] if one.head])
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
            for how, scores in reader.scores(features).items():
                if how == OPEN:
                    scores[:, nameless] = -2.0  # below every cosine
                answers = torch.stack([drawn_out(one, grid, SIDE) for one in scores.split(tokens)])
                found.setdefault(how, []).append(confusion(answers, named if how == OPEN else truth, n_classes))
    return [{how: torch.cat(parts) for how, parts in found.items()} for found in tables]


def _rows(codes: SparseCodes | None, features: Tensor) -> Rows:
    return features.numpy() if codes is None else codes.to_scipy()


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
