"""From what people have to what a head reads: pooled concepts of images, rows [n, F] as CSR.

In: pooled activations as they are, a feature cache (or its path), photos, or a source of labelled photos. Out: a row an
image, in order. Features are never held for more than one batch, codes never for more than one batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from scipy.sparse import csr_array, issparse
from tqdm import tqdm

from sae import SparseCodes
from sae.dictionary import Dictionary
from sae.errors import InsightError

from ..cache import FeatureCache
from ..cache.format.manifest import FILE as MANIFEST
from ..cache.writing.ahead import ahead
from ..data import open_source
from ..data.decode import BadImage, decode, to_rgb
from .defaults import ROWS_IN_MEMORY
from .pooling import Pooling, n_features, pool
from .row_store import RowStore, rows_at

if TYPE_CHECKING:
    from ..data import ImageSource
    from ..model import ConceptModel

BATCH = 16  # photos a forward pass


@dataclass(frozen=True)
class LabelledRows:
    """The images of a source. rows: [n, F]; labels: one each, None where the source says none; ids, splits: likewise;
    skipped: id → why an image gave no row."""

    rows: csr_array
    labels: list[str | None]
    ids: list[str]
    splits: list[str | None]
    skipped: dict[str, str] = field(default_factory=dict)

    def at(self, places: np.ndarray) -> csr_array:
        """Some of the rows, in files where all of them are."""
        return rows_at(self.rows, places, ROWS_IN_MEMORY)


def is_activations(X: Any) -> bool:
    """Whether X is an array of some kind, and neither a cache (or a path) nor a sequence of photos."""
    return not (isinstance(X, FeatureCache | str | Path) or _is_photos(X))


def with_labels(X: Any, y: Any) -> tuple[Any, Any]:
    """X with a cache in place of the path of one, and where that is labelled and y is None, its labels."""
    if isinstance(X, str | Path):
        X = FeatureCache.open(X)
    if isinstance(X, FeatureCache) and y is None:
        y = X.labels
    return X, y


def labelled(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Those of the rows whose label is not None. `InsightError` when none is left."""
    if y is None or (isinstance(y, np.ndarray) and y.dtype != object) or not hasattr(y, "__len__"):
        return X, y, sample_weight
    kept = [place for place, label in enumerate(y) if label is not None]
    if len(kept) == len(y):
        return X, y, sample_weight
    if not kept:
        raise InsightError(f"expected labelled images, found {len(y)} without a label; give y, or label them")
    taken = rows_at(X, np.array(kept), ROWS_IN_MEMORY) if issparse(X) else np.asarray(X)[kept]
    weight = None if sample_weight is None else np.asarray(sample_weight)[kept]
    return taken, [y[place] for place in kept], weight


def pool_cache(
    cache: FeatureCache,
    dictionary: Dictionary,
    pooling: Pooling,
    *,
    progress: bool = True,
) -> csr_array:
    """Rows [n, F] of the images of a cache, read once from front to back.

    An image takes 8 bytes for each of its concepts (16 with "max+mean"), some kilobytes; above `ROWS_IN_MEMORY` bytes
    the rows are mapped from temporary files. In a cache that keeps some patches of each image, those are pooled.
    """
    store = RowStore(n_features(dictionary.n_concepts, pooling), ROWS_IN_MEMORY)
    with tqdm(total=cache.n_images, desc="concepts", unit=" images", disable=not progress, delay=2) as bar:
        for _, features in cache.scan():
            pooled = pool(dictionary.encode(features), cache.tokens_per_image, pooling)
            store.append(pooled.to_scipy())
            bar.update(pooled.n)
    return store.rows()


def pool_photos(photos: Sequence[Path | str | Image.Image], model: ConceptModel, pooling: Pooling) -> csr_array:
    """Rows [n, F] of photos, as `ConceptModel.explain` sees them: their centre squares. `BadImage` names a bad one."""
    store = RowStore(n_features(model.sae.n_concepts, pooling), ROWS_IN_MEMORY)
    entries = ((photo, partial(load_photo, photo)) for photo in photos)
    for _, rows in _rows_of(entries, model, pooling, len(photos), None):
        store.append(rows)
    return store.rows()


def pool_source(source: ImageSource, model: ConceptModel, pooling: Pooling) -> LabelledRows:
    """Rows [n, F] and labels of a source of images. Bad images are left out, and said in `skipped`."""
    store = RowStore(n_features(model.sae.n_concepts, pooling), ROWS_IN_MEMORY)
    labels: list[str | None] = []
    ids: list[str] = []
    splits: list[str | None] = []
    skipped: dict[str, str] = {}
    items = (item for part in source.parts(BATCH) for item in source.read(part))
    for batch, rows in _rows_of(((item, item.load) for item in items), model, pooling, None, skipped):
        store.append(rows)
        labels += [item.label for item in batch]
        ids += [item.id for item in batch]
        splits += [item.split for item in batch]
    return LabelledRows(store.rows(), labels, ids, splits, skipped)


def read_labelled(place: str, model: ConceptModel, pooling: Pooling) -> LabelledRows:
    """Rows and labels of a cache in a folder, or else of the source of images that `place` names."""
    if not (Path(place) / MANIFEST).exists():
        return pool_source(open_source(place), model, pooling)
    cache = FeatureCache.open(place)
    columns = (cache.index[name].to_pylist() for name in ("label", "id", "split"))
    return LabelledRows(pooled_rows(cache, model, pooling), *columns)


def load_photo(photo: Path | str | Image.Image) -> Image.Image:
    """A photo as RGB, by the rules of `insight.data.decode`."""
    return to_rgb(photo, "image") if isinstance(photo, Image.Image) else decode(Path(photo))


def pooled_rows(X: FeatureCache | Sequence[Any], model: ConceptModel | None, pooling: Pooling) -> csr_array:
    """Rows [n, F] of a cache or photos; `InsightError` without a model, or for features of another one."""
    if model is None:
        raise InsightError(
            "a head without a model reads pooled activations only; give it one: ConceptClassifier(model, ...)"
        )
    if not isinstance(X, FeatureCache):
        return pool_photos(X, model, pooling)
    X.require(model.config["backbone"]["fingerprint"])
    return pool_cache(X, model.sae, pooling)


def as_array(X: Any) -> Any:
    """Activations as scikit-learn takes them: codes become CSR, the rest is left as it is."""
    return X.to_scipy() if isinstance(X, SparseCodes) else X


def _is_photos(X: Any) -> bool:
    listed = isinstance(X, list | tuple) and len(X) > 0
    return listed and all(isinstance(item, str | Path | Image.Image) for item in X)


def _rows_of(
    entries: Iterable[tuple[Any, Callable[[], Image.Image]]],
    model: ConceptModel,
    pooling: Pooling,
    total: int | None,
    skipped: dict[str, str] | None,
) -> Iterator[tuple[list[Any], csr_array]]:
    """Batches of what the entries are, and the rows of their images. Decoded by threads, ahead of the encoder.

    skipped: takes the id and reason of each bad image; None: the first one is raised.
    """
    transform = model.backbone.transform

    def load(entry: tuple[Any, Callable[[], Image.Image]]) -> tuple[Any, torch.Tensor | BadImage]:
        item, loaded = entry
        try:
            return item, transform(loaded())
        except BadImage as bad:
            return item, bad

    workers = min(16, os.cpu_count() or 1)
    batch: list[tuple[Any, torch.Tensor]] = []
    bar = tqdm(total=total, desc="concepts", unit=" photos", delay=2)
    with bar, closing(ahead(load, entries, workers, 2 * BATCH)) as loaded:
        for item, image in loaded:
            bar.update()
            if not isinstance(image, BadImage):
                batch.append((item, image))
            elif skipped is None:
                raise image
            else:
                skipped[item.id] = image.reason
            if len(batch) == BATCH:
                yield _encoded(batch, model, pooling)
                batch = []
        if batch:
            yield _encoded(batch, model, pooling)


def _encoded(
    batch: list[tuple[Any, torch.Tensor]], model: ConceptModel, pooling: Pooling
) -> tuple[list[Any], csr_array]:
    codes, features = model.encode(torch.stack([image for _, image in batch]))
    return [item for item, _ in batch], pool(codes, int(np.prod(features.grid)), pooling).to_scipy()
