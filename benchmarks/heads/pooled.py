"""Images as rows: opaque vectors, and codes of dictionaries pooled over patches; one pass over a cache for all.

In: a cache and dictionaries. Out: opaque features by name, and codes [n, F] of each dictionary, which are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.heads.dictionaries import Made
from benchmarks.heads.settings import HEAD
from insight.cache import FeatureCache
from insight.heads.pooling import pool
from naming.npz import read_npz, write_npz
from sae import SparseCodes

MEAN, BOTH, WHOLE = "mean of patches", "mean and maximum of patches", "image vector"
POOLED = (MEAN, BOTH)
"""The opaque features that concept heads are held against: made of the same patches."""


def opaque(cache: FeatureCache) -> dict[str, np.ndarray]:
    """float32 [n, .] by name: what linear probes are given in place of concepts."""
    means, largest = [], []
    for _, features in cache.scan():
        of_image = features.unflatten(0, (-1, cache.tokens_per_image))
        means.append(of_image.mean(1))
        largest.append(of_image.amax(1))
    mean, most = torch.cat(means).numpy(), torch.cat(largest).numpy()
    return {MEAN: mean, BOTH: np.concatenate([mean, most], axis=1), WHOLE: cache.pooled().float().numpy()}


@dataclass(frozen=True)
class Pooled:
    """Codes of the images of a cache by one dictionary: [n, F] as heads see them."""

    made: Made
    codes: SparseCodes
    active: float
    """Concepts on a patch (of an image, for a dictionary of image vectors), on average."""


def pooled_codes(cache: FeatureCache, dictionaries: Sequence[Made], kept: Path) -> list[Pooled]:
    """The codes of all dictionaries. Those that `kept` has are read, the others made in one pass and kept."""
    folder = kept / f"{cache.folder.name}-{cache.n_images}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {made.key: folder / f"{made.key}.npz" for made in dictionaries}
    missing = [made for made in dictionaries if not files[made.key].exists()]
    for made, codes, active in _encoded(cache, missing):
        _save(files[made.key], codes, active)
    return [_load(made, files[made.key]) for made in dictionaries]


@torch.no_grad()
def _encoded(cache: FeatureCache, dictionaries: Sequence[Made]) -> list[tuple[Made, SparseCodes, float]]:
    of_patches = [made for made in dictionaries if made.spec.of == "patches"]
    parts: list[list[SparseCodes]] = [[] for _ in of_patches]
    active = [0] * len(of_patches)
    for _, features in cache.scan() if of_patches else ():
        for i, made in enumerate(of_patches):
            codes = made.dictionary.encode(features)
            active[i] += codes.nnz
            parts[i].append(pool(codes, cache.tokens_per_image, HEAD["pooling"]))
    found = [
        (made, SparseCodes.cat(part), n / cache.n_tokens)
        for made, part, n in zip(of_patches, parts, active, strict=True)
    ]
    for made in dictionaries:
        if made.spec.of == "images":
            codes = made.dictionary.encode(cache.pooled().float())
            found.append((made, codes, codes.nnz / cache.n_images))
    return found


def _save(file: Path, codes: SparseCodes, active: float) -> None:
    arrays = {name: getattr(codes, name).numpy() for name in ("offsets", "concepts", "activations")}
    write_npz(file, {**arrays, "width_and_active": np.array([codes.n_concepts, active])})


def _load(made: Made, file: Path) -> Pooled:
    names = ["offsets", "concepts", "activations", "width_and_active"]
    offsets, concepts, activations, rest = read_npz(file, names, "delete it").values()
    arrays = torch.from_numpy(offsets), torch.from_numpy(concepts), torch.from_numpy(activations)
    codes = SparseCodes(*arrays, n_concepts=int(rest[0]))
    return Pooled(made, codes, float(rest[1]))
