"""The sets that methods are fitted on: PH2 with its clinical concepts, chest X-rays, CIFAR-10 with rationales of ours.

In: folders and a `Workplace`. Out: `TunedSet`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.heads.caches import Workplace
from benchmarks.heads.named import Fold, Named, read_cifar, read_ph2, read_xrays
from benchmarks.tuned.settings import DRAW, TEST_A_CLASS, TRAIN_A_CLASS, Concepts
from insight.data.decode import decode
from insight.methods.bank import ConceptBank, shipped_bank
from insight.methods.training import Examples
from naming import load_phrases

PH2_COLUMNS = {
    "a symmetric shape": ("asymmetry", "0"),
    "a shape that is asymmetric along one axis": ("asymmetry", "1"),
    "a shape that is asymmetric along two axes": ("asymmetry", "2"),
    "a typical pigment network of even lines": ("pigment_network", "T"),
    "an atypical pigment network of uneven lines": ("pigment_network", "AT"),
    "no dots or globules": ("dots_globules", "A"),
    "evenly spread typical dots and globules": ("dots_globules", "T"),
    "unevenly spread atypical dots and globules": ("dots_globules", "AT"),
    "streaks at the edge": ("streaks", "P"),
    "pale areas of regression": ("regression_areas", "P"),
    "a blue-whitish veil": ("blue_whitish_veil", "P"),
    "a white colour": ("colour_white", "1"),
    "a red colour": ("colour_red", "1"),
    "a light brown colour": ("colour_light_brown", "1"),
    "a dark brown colour": ("colour_dark_brown", "1"),
    "a blue-gray colour": ("colour_blue_gray", "1"),
    "a black colour": ("colour_black", "1"),
}
"""Where `concepts.csv` says whether a descriptor of the bank `ph2-melanoma` holds for a photograph."""


@dataclass(frozen=True, eq=False)
class TunedSet:
    """photos: examples that are loaded from files; features: the same of the cache; folds: to train and to test on;
    split: one of the folds' kind that the data set itself names, for methods that are fitted once."""

    name: str
    bank: ConceptBank
    photos: Examples
    features: Examples
    folds: tuple[Fold, ...]
    split: Fold
    files: tuple[Path, ...]

    def bank_with(self, concepts: Concepts) -> ConceptBank:
        """The bank, or what a control has in its place."""
        if concepts == "wrong":
            return self.bank.shuffled(DRAW)
        if concepts == "random words":
            return self.bank.random_words(load_phrases().phrases, DRAW)
        return self.bank


def read_sets(place: Workplace, data: Path, cifar: Path | None, xray: Path | None) -> list[TunedSet]:
    """Those that there are folders of."""
    found = []
    if (data / "ph2").exists():
        found.append(_ph2(data, place))
    if xray:
        found.append(_of_named(read_xrays(xray, place), shipped_bank("xray"), place, "xray"))
    if cifar:
        found.append(_of_named(read_cifar(cifar, place), shipped_bank("cifar10"), place, "cifar10"))
    return found


def few_of(tuned: TunedSet, train: int = TRAIN_A_CLASS, test: int = TEST_A_CLASS) -> TunedSet:
    """The same with so many photographs of each class, the first of the split's, for methods that train blocks."""
    labels = tuned.photos.labels.numpy()
    chosen = [
        np.concatenate([part[labels[part] == number][:most] for number in np.unique(labels)])
        for part, most in zip(tuned.split, (train, test), strict=True)
    ]
    index = np.concatenate(chosen)
    split = np.arange(len(chosen[0])), np.arange(len(chosen[0]), len(index))
    files = tuple(tuned.files[i] for i in index)
    photos, features = tuned.photos.at(index), tuned.features.at(index)
    return replace(tuned, photos=photos, features=features, folds=(split,), split=split, files=files)


def _ph2(data: Path, place: Workplace) -> TunedSet:
    found = _of_named(read_ph2(data, place), shipped_bank("ph2-melanoma"), place, "ph2")
    with (data / "ph2" / "concepts.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    own = [rows[file.stem] for file in found.files]
    columns = [PH2_COLUMNS[concept] for concept in found.bank.concepts]
    gold = torch.tensor([[row.get(column) == value for column, value in columns] for row in own])
    tested = np.array([row.get("split") == "test" for row in own])
    split = found.split
    if 0 < tested.sum() < len(tested):
        split = np.flatnonzero(~tested), np.flatnonzero(tested)
    return replace(
        found,
        photos=replace(found.photos, concepts=gold),
        features=replace(found.features, concepts=gold),
        split=split,
    )


def _of_named(named: Named, bank: ConceptBank, place: Workplace, folder: str) -> TunedSet:
    labels = torch.tensor([bank.index(named.classes[number]) for number in named.truth])
    ids = tuple(named.cache.index["id"].to_pylist())
    files = tuple(place.work / f"photos-{folder}" / id for id in ids)
    load: tuple[Callable[[], Image.Image], ...] = tuple(partial(decode, file) for file in files)
    photos = Examples(labels, ids, load)
    features = Examples(labels, ids, cache=named.cache)
    return TunedSet(named.name, bank, photos, features, named.folds, named.folds[0], files)
