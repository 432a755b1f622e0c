"""A segmenter learns: labelled patches gathered from a cache or from codes, and a linear head fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64
from scipy.sparse import csr_array
from torch import Tensor

from naming import word_key
from sae import SparseCodes
from sae.errors import InsightError

from ..cache import FeatureCache
from .class_texts import ClassWords
from .defaults import ROWS_IN_MEMORY
from .linear import LinearFit, fit_linear
from .row_store import RowStore
from .surroundings import check_whole, with_surroundings
from .token_head import as_rows

if TYPE_CHECKING:
    from ..model import ConceptModel


@dataclass(frozen=True, eq=False)
class LabelledPatches:
    """Codes [n, m] and the class of each, none of them without one; [n, 2m] with the mean codes around each."""

    codes: csr_array
    classes: Int64[np.ndarray, " n"]


def patches_of_codes(
    codes: SparseCodes | csr_array,
    y: Any,
    n_classes: int,
    n_concepts: int,
    grid: tuple[int, int] | None,
    most: int,
    seed: int,
) -> LabelledPatches:
    """The labelled ones of codes [n, m], at most so many. grid: of whole images, of which surroundings are wanted.

    `InsightError` when y is not a class of each, or the codes are no whole images."""
    if y is None:
        raise InsightError("fit: expected the class of each patch beside the codes, found none; give y")
    rows, classes = as_rows(codes, n_concepts), np.asarray(y)
    whole = np.issubdtype(classes.dtype, np.integer)
    if not whole or classes.shape != (rows.shape[0],):
        raise InsightError(f"y: expected int [{rows.shape[0]}], found {classes.dtype} {list(classes.shape)}")
    if classes.size and not (classes.min() >= -1 and classes.max() < n_classes):
        found = int(classes.min() if classes.min() < -1 else classes.max())
        raise InsightError(f"y: expected classes 0 to {n_classes - 1}, and -1 for none, found {found}")
    kept = _some(np.flatnonzero(classes >= 0), most, seed)
    if grid is not None:
        check_whole(rows, grid)
        rows = with_surroundings(rows, grid)
    return LabelledPatches(rows[kept], classes[kept].astype(np.int64))


def patches_of_cache(
    cache: FeatureCache | Path | str,
    y: Any,
    words: ClassWords | None,
    model: ConceptModel,
    surroundings: bool,
    most: int,
    seed: int,
) -> tuple[LabelledPatches, ClassWords]:
    """The labelled patches of a cache, at most so many, and the classes: those asked for, or all that have any.

    Patches of classes that were not asked for are left out. The cache is read once from front to back.
    """
    if y is not None:
        raise InsightError("fit: a cache brings the classes of its patches along; leave y out")
    cache = cache if isinstance(cache, FeatureCache) else FeatureCache.open(cache)
    cache.require(model.config["backbone"]["fingerprint"])
    found = cache.patch_classes().flatten().numpy()
    if words is None:
        present = np.unique(found[found >= 0])
        words = ClassWords.read([cache.classes[number] for number in present.tolist()])
    place = {word_key(name): number for number, name in enumerate(cache.classes)}
    lacking = [name for name in words.names if word_key(name) not in place]
    if lacking:
        raise InsightError(
            f"{cache.folder}: has no patches marked {', '.join(map(repr, lacking))}; its classes are"
            f" {', '.join(cache.classes)}"
        )
    number = np.full(len(cache.classes) + 1, -1, np.int64)  # the last is of -1
    for wanted, name in enumerate(words.names):
        number[place[word_key(name)]] = wanted
    classes = number[found]
    kept = _some(np.flatnonzero(classes >= 0), most, seed)
    if surroundings and cache.tokens_per_image != cache.grid[0] * cache.grid[1]:
        raise InsightError(
            f"{cache.folder}: keeps {cache.tokens_per_image} patches of each image, so what stands around them is not"
            " known; fit with surroundings=False"
        )
    store = RowStore(model.sae.n_concepts * (2 if surroundings else 1), ROWS_IN_MEMORY)
    for first, features in cache.scan():
        low, high = np.searchsorted(kept, [first, first + len(features)])
        here = kept[low:high] - first
        if len(here) and surroundings:
            store.append(with_surroundings(_encoded(features, model), cache.grid)[here])
        elif len(here):
            store.append(_encoded(features[here], model))
    return LabelledPatches(store.rows(), classes[kept]), words


def fit_head(
    patches: LabelledPatches,
    names: Sequence[str],
    alpha: float,
    l1_ratio: float,
    class_weight: str | None,
    max_iter: int,
) -> LinearFit:
    """The linear fit of labelled patches. `InsightError` for a class without any, and for fewer than two classes."""
    if class_weight not in (None, "balanced"):
        raise InsightError(f"class_weight: expected 'balanced' or None, found {class_weight!r}")
    counts = np.bincount(patches.classes, minlength=len(names))
    if len(names) < 2:
        raise InsightError(f"fit: expected at least two classes to tell apart, found {', '.join(names)} alone")
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing:
        raise InsightError(f"fit: no patch is of {', '.join(map(repr, missing))}; leave them out of the classes")
    weight = None if class_weight is None else (len(patches.classes) / counts / len(names))[patches.classes]
    return fit_linear(
        patches.codes,
        patches.classes,
        len(names),
        alpha=alpha,
        l1_ratio=l1_ratio,
        sample_weight=weight,
        max_iter=max_iter,
    )


def _encoded(features: Tensor, model: ConceptModel) -> csr_array:
    return model.sae.encode(features.to(model.device)).to("cpu").to_scipy()


def _some(places: Int64[np.ndarray, " n"], most: int, seed: int) -> Int64[np.ndarray, " n"]:
    """At most so many of them, drawn at random, in order."""
    if len(places) <= most:
        return places
    return np.sort(np.random.default_rng(seed).choice(places, most, replace=False))
