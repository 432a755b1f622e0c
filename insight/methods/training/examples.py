"""Labelled photos as methods learn from them: ways to load each, its class, and its concepts where they are known."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from sae.errors import InsightError

from ...backbones import DenseFeatures
from ...backbones.base import fingerprint_of
from ...cache import FeatureCache
from ...cache.writing.ahead import ahead
from ...data import BadImage, open_source
from ..towers import FrozenTower, Tower
from .gold import read_gold

if TYPE_CHECKING:
    from ..bank import ConceptBank

BATCH = 16  # photos encoded at a time
IN_MEMORY = 4 << 30
"""Bytes of what is kept of photos that are held in memory; more lie in a temporary file."""


@dataclass(frozen=True, eq=False)
class Examples:
    """n photos. labels: int64 [n], places in the bank's classes; ids: what to call them; load: the photo (RGB) of each,
    or `BadImage`; concepts: bool [n, R], where they are known; splits: as the source names them; cache: features of the
    same photos, row by row, in place of the photos themselves."""

    labels: Tensor
    ids: tuple[str, ...]
    load: tuple[Callable[[], Image.Image], ...] = ()
    concepts: Tensor | None = None
    splits: tuple[str | None, ...] = ()
    cache: FeatureCache | None = None
    rows: Tensor | None = None
    """int64 [n]: which images of the cache; None: all."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Photos of the source that are not among them, and why."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over ids, labels and concepts: a training goes on with the same photos alone."""
        known = [] if self.concepts is None else self.concepts.int().tolist()
        return fingerprint_of([repr(self.ids), repr(self.labels.tolist()), repr(known)])

    @classmethod
    def read(cls, place: str, bank: ConceptBank) -> Examples:
        """The labelled images of any source that `insight.data.open_source` knows.

        Labels are classes of the bank, by their key or in words; images without one are left out. `InsightError` for a
        label that the bank does not have, and when no image is left.
        """
        source = open_source(place)
        kept, left_out = [], {}
        for part in source.parts(BATCH):
            for item in source.read(part):
                if item.label is None:
                    left_out[item.id] = "has no label"
                else:
                    kept.append((bank.index(item.label), item.id, item.load, item.split))
        if not kept:
            raise InsightError(f"{place}: expected labelled images, found none; put them into a folder a class")
        labels, ids, load, splits = zip(*kept, strict=True)
        return cls(torch.tensor(labels), ids, load, splits=splits, left_out=left_out)

    @classmethod
    def of_cache(cls, cache: FeatureCache, bank: ConceptBank) -> Examples:
        """The labelled images of a feature cache, for methods that leave the encoder frozen: nothing is encoded."""
        named = [(row, label) for row, label in enumerate(cache.labels) if label is not None]
        if not named:
            raise InsightError(f"{cache.folder}: expected labelled images, found none; write it from a folder a class")
        rows = [row for row, _ in named]
        labels = torch.tensor([bank.index(label) for _, label in named])
        ids, splits = (cache.index[column].to_pylist() for column in ("id", "split"))
        return cls(
            labels,
            tuple(ids[row] for row in rows),
            splits=tuple(splits[row] for row in rows),
            cache=cache,
            rows=torch.tensor(rows),
        )

    def with_concepts(self, path: Path, bank: ConceptBank) -> Examples:
        """With the concepts of a CSV file: a column of photos (ids, file names or their stems), and one of 0 and 1 for
        each concept that was looked for; concepts without a column count as not there.

        `InsightError` names the column that is no concept of the bank, the value that is neither 0 nor 1, and the photo
        without a line.
        """
        gold = read_gold(path, bank)
        lines = []
        for id in self.ids:
            line = next((gold[name] for name in (id, Path(id).name, Path(id).stem) if name in gold), None)
            if line is None:
                raise InsightError(f"{path}: expected a line for photo {id}, found none; add it, or drop the photo")
            lines.append(line)
        return replace(self, concepts=torch.stack(lines))

    def at(self, index: Tensor | np.ndarray | Sequence[int]) -> Examples:
        """Some of them, in the order given."""
        index = torch.as_tensor(index)
        index = index.nonzero()[:, 0] if index.dtype == torch.bool else index.long()
        return replace(
            self,
            labels=self.labels[index],
            ids=tuple(self.ids[i] for i in index.tolist()),
            load=tuple(self.load[i] for i in index.tolist()) if self.load else (),
            concepts=None if self.concepts is None else self.concepts[index],
            splits=tuple(self.splits[i] for i in index.tolist()) if self.splits else (),
            rows=None if self.cache is None else (index if self.rows is None else self.rows[index]),
        )

    def kept_by(self, tower: Tower, *, progress: bool = True) -> tuple[Examples, Tensor]:
        """What a tower keeps of every photo [k, ...], and the k photos that could be read (others: `left_out`)."""
        if self.cache is not None:
            return self, self._kept_of_cache(tower)
        good: list[int] = []
        bad: dict[str, str] = {}
        kept = torch.empty(0)
        for numbers, images in self._encoded(tower, bad, progress):
            part = tower.keep(images.to(tower.backbone.colour_mean.device)).cpu()
            if not good:
                kept = _room(len(self), part)
            kept[len(good) : len(good) + len(part)] = part
            good += numbers
        if not good:
            first = next(iter(bad.items()), ("photos", "there are none"))
            raise InsightError(f"{first[0]}: {first[1]}; expected at least one photo that can be read")
        found = self if len(good) == len(self) else self.at(good)
        return replace(found, left_out={**self.left_out, **bad}), kept[: len(good)]

    def _encoded(self, tower: Tower, bad: dict[str, str], progress: bool) -> Iterator[tuple[list[int], Tensor]]:
        """Photos as tensors, some at a time, with their numbers. Decoded by threads, ahead of the encoder."""
        transform = tower.backbone.transform

        def work(number: int) -> tuple[int, Tensor | BadImage]:
            try:
                return number, transform(self.load[number]())
            except BadImage as error:
                return number, error

        numbers: list[int] = []
        images: list[Tensor] = []
        bar = tqdm(total=len(self), desc="photos", unit=" photos", delay=2, disable=not progress)
        workers = min(16, os.cpu_count() or 1)
        with bar, closing(ahead(work, range(len(self)), workers, 2 * BATCH)) as loaded:
            for number, image in loaded:
                bar.update()
                if isinstance(image, BadImage):
                    bad[self.ids[number]] = image.reason
                    continue
                numbers.append(number)
                images.append(image)
                if len(images) == BATCH:
                    yield numbers, torch.stack(images)
                    numbers, images = [], []
            if images:
                yield numbers, torch.stack(images)

    def _kept_of_cache(self, tower: Tower) -> Tensor:
        cache = self.cache
        assert cache is not None
        if not isinstance(tower, FrozenTower):
            raise InsightError(
                f"{cache.folder}: a feature cache serves methods that leave the encoder frozen; give the photos"
                " themselves to train a part of it"
            )
        cache.require(tower.backbone.fingerprint)
        parts = []
        for row in range(cache.n_images) if self.rows is None else self.rows.tolist():
            features = DenseFeatures(cache.image(row).float()[None], cache.pooled(row, 1).float(), cache.grid)
            parts.append(tower.keep_features(features))
        return torch.cat(parts)


def _room(n: int, part: Tensor) -> Tensor:
    """Space for n rows like those of `part`: in memory, or in a temporary file that is mapped where they are large."""
    shape = (n, *part.shape[1:])
    if n * part[0].numel() * part.element_size() <= IN_MEMORY:
        return torch.empty(shape, dtype=part.dtype)
    with tempfile.NamedTemporaryFile(prefix="insight-kept-") as file:  # stays until nobody maps it
        flat = torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=part.dtype)
    return flat.reshape(shape)
