"""Sets of photographs with one class each: CIFAR-10, chest X-rays, PH2, names of ImageNet, and any other source.

In: folders and a `Workplace`. Out: `Named`: a cache, the class of every image, and which images are trained on and
which tested, once or fold by fold.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.heads.caches import Workplace
from benchmarks.heads.settings import DRAW, FOLDS
from insight.cache import FeatureCache
from insight.data import open_source
from sae.errors import InsightError

WORDS = {"NORMAL": "healthy lungs", "PNEUMONIA": "pneumonia", "rest": "mole", "melanoma": "melanoma"}
"""What classes are called that are no words."""
TESTED = ("test", "val", "validation")

Fold = tuple[np.ndarray, np.ndarray]
"""Numbers of images to train on and to test on, int64."""


@dataclass(frozen=True)
class Named:
    """name: as rows say it; split: in words; classes: as words; truth: int64 [n], the class of each image of `cache`;
    folds: one where the set has a split, else every image is tested once."""

    name: str
    split: str
    cache: FeatureCache
    classes: tuple[str, ...]
    truth: np.ndarray
    folds: tuple[Fold, ...]
    own: bool = True
    """Whether it is worth a dictionary of its own photographs: they are of another kind than those that the general
    ones are trained on, and enough to train one."""

    @property
    def tested(self) -> np.ndarray:
        """int64: all images that are tested, fold by fold."""
        return np.concatenate([test for _, test in self.folds])

    def with_folds(self, most: int | None) -> Named:
        """The same with the first `most` folds alone (None: all)."""
        if most is None or most >= len(self.folds):
            return self
        return replace(self, split=f"{most} of {self.split}", folds=self.folds[:most])


def read_cifar(folder: Path, place: Workplace) -> Named:
    """CIFAR-10, 200 photographs a class to train on and 100 of the test set."""
    return replace(_split_by_folder("CIFAR-10", place.cifar(folder)), own=False)


def read_xrays(folder: Path, place: Workplace) -> Named:
    """Chest X-rays: `train/CLASS/` and `test/CLASS/`."""

    def files() -> list[str]:
        found = [
            sorted(path.relative_to(folder).as_posix() for path in (folder / split / name).glob("*.*"))[: place.few]
            for split in ("train", "test")
            for name in ("NORMAL", "PNEUMONIA")
        ]
        return [file for some in found for file in some]

    return _split_by_folder("chest X-rays", place.linked("xray", folder, files))


def read_imagenet(data: Path, place: Workplace) -> Named:
    """The 1,000 photographs of 200 names, cross-validated; a smoke test takes the photographs of some names."""
    lines = (data / "imagenet-200x5" / "classes.tsv").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t") for line in lines)
    root = data / "imagenet-200x5" / "images"

    def files() -> list[str]:
        wnids = [*names][: place.few and max(2, place.few // FOLDS)]
        return sorted(path.relative_to(root).as_posix() for wnid in wnids for path in (root / wnid).glob("*.*"))

    cache = place.linked("imagenet", root, files)
    found = _crossed("ImageNet, 200 names", cache, [id.split("/")[0] for id in _ids(cache)], names)
    return replace(found, own=False)


def read_ph2(data: Path, place: Workplace) -> Named:
    """PH2: melanoma against the rest, cross-validated."""
    with (data / "ph2" / "concepts.csv").open(encoding="utf-8", newline="") as file:
        diagnosis = {row["image"]: row["diagnosis"] for row in csv.DictReader(file)}
    of_stem = {stem: "melanoma" if said == "melanoma" else "rest" for stem, said in diagnosis.items()}
    root = data / "ph2" / "images"

    def files() -> list[str]:
        found = sorted(path.name for path in root.iterdir() if path.stem in of_stem)
        kinds = [[file for file in found if of_stem[Path(file).stem] == kind] for kind in ("rest", "melanoma")]
        return [file for kind in kinds for file in kind[: place.few]]

    cache = place.linked("ph2", root, files)
    found = _crossed("PH2, melanoma or not", cache, [of_stem[Path(id).stem] for id in _ids(cache)])
    return replace(found, own=False)


def read_any(name: str, spec: str, place: Workplace) -> Named:
    """Any labelled source that `open_source` knows: split as it says itself, else cross-validated."""
    cache = place.cache(name, lambda: open_source(spec))
    labels = cache.labels
    if None in labels:
        raise InsightError(f"{spec}: expected a label for every image, found {labels.count(None)} without")
    splits = cache.index["split"].to_pylist()
    known = [str(label) for label in labels]
    if not set(TESTED) & set(splits):
        return _crossed(name, cache, known)
    return _once(name, cache, known, [split in TESTED for split in splits])


def _split_by_folder(name: str, cache: FeatureCache) -> Named:
    """Of ids SPLIT/CLASS/FILE."""
    parts = [id.split("/") for id in _ids(cache)]
    return _once(name, cache, [part[1] for part in parts], [part[0] == "test" for part in parts])


def _once(name: str, cache: FeatureCache, labels: Sequence[str], tested: Sequence[bool]) -> Named:
    classes, truth = np.unique(labels, return_inverse=True)
    fold = np.flatnonzero(~np.array(tested)), np.flatnonzero(tested)
    if not all(len(part) for part in fold):
        raise InsightError(f"{name}: expected photographs to train on and to test on, found {[len(p) for p in fold]}")
    return Named(name, "test", cache, _words(classes, {}), truth, (fold,))


def _crossed(name: str, cache: FeatureCache, labels: Sequence[str], words: Mapping[str, str] | None = None) -> Named:
    from sklearn.model_selection import StratifiedKFold

    classes, truth = np.unique(labels, return_inverse=True)
    cut = StratifiedKFold(FOLDS, shuffle=True, random_state=DRAW)
    folds = tuple((train, test) for train, test in cut.split(truth, truth))
    return Named(name, f"{FOLDS}-fold", cache, _words(classes, words or {}), truth, folds)


def _words(classes: np.ndarray, words: Mapping[str, str]) -> tuple[str, ...]:
    named: Callable[[str], str] = lambda label: words.get(label) or WORDS.get(label) or label.replace("_", " ")  # noqa: E731
    return tuple(named(str(label)) for label in classes)


def _ids(cache: FeatureCache) -> list[str]:
    found: list[str] = cache.index["id"].to_pylist()
    return found
