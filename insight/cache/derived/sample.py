"""Part of a cache: some of its images, some of the patches of each, drawn at random."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from ..format.index import stream_index, stream_skipped
from ..format.positions import patch_keys, smallest
from ..reading.reader import FeatureCache
from .derive import derive, origin, seed_of
from .rewrite import rewritten


def sample_cache(
    cache: Path | str, out: Path | str, images: int | None = None, tokens: int | None = None, seed: int = 0
) -> FeatureCache:
    """Draw `images` images of a cache and `tokens` patches of each (None: all) into a new cache in the folder `out`.

    Images keep their order, patches theirs, and what is kept keeps its bytes. Which patches are kept depends on the
    seed and the image's id alone: those that `write_cache(..., tokens=tokens, seed=seed)` keeps, if the cache has them.
    Every block is checked as it is read; the same call goes on after a kill. `InsightError` when the cache has fewer
    images or patches than asked for, or is damaged.
    """
    old = FeatureCache.open(cache)
    if images is None and tokens is None:
        raise InsightError("expected a number of images or of patches (tokens) of each to keep, found neither")
    _require("images", images, old.n_images, old)
    _require("tokens", tokens, old.tokens_per_image, old)
    keep = old.tokens_per_image if tokens is None else tokens
    drawn_by = seed_of(old)
    if keep < old.tokens_per_image:
        drawn_by = seed if drawn_by == seed or not old.manifest.form.has_positions else None
    how = {"command": "sample", "images": images, "tokens": tokens, "seed": seed}
    chosen = _draw(old, old.n_images if images is None else images, seed)
    sources = old.manifest.sources
    if len(chosen) < old.n_images:  # no longer all that a source lists
        sources = tuple({name: text for name, text in source.items() if name != "items"} for source in sources)
    settings = origin([old], how, drawn_by)
    like = replace(old.manifest, tokens_per_image=keep, sources=sources, settings=settings)
    shards = partial(rewritten, old, chosen, like.form, _thinning(old, keep, seed))
    return derive(Path(out), like, shards, stream_skipped(old.folder, old.manifest))


def _require(what: str, asked: int | None, there: int, cache: FeatureCache) -> None:
    if asked is not None and not 1 <= asked <= there:
        raise InsightError(f"{cache.folder}: {what}: expected a number from 1 to {there}, as it has, found {asked}")


def _draw(cache: FeatureCache, count: int, seed: int) -> np.ndarray:
    """int64 [count], ascending: the images with the smallest keys. A key is a hash of seed and id, so the choice does
    not depend on the order of the images, on a library's random numbers, or on which patches are kept."""
    if count == cache.n_images:
        return np.arange(count)
    keys = np.empty(cache.n_images, dtype=np.uint64)
    number = 0
    for lines in stream_index(cache.folder, cache.manifest):
        for id in lines["id"].to_pylist():
            keys[number] = int.from_bytes(hashlib.shake_128(f"image {seed}/{id}".encode()).digest(8), "little")
            number += 1
    return smallest(keys, count).astype(np.int64)


def _thinning(cache: FeatureCache, keep: int, seed: int) -> Callable[[dict[str, Tensor], list[str]], dict[str, Tensor]]:
    grid = cache.grid[0] * cache.grid[1]

    def change(tensors: dict[str, Tensor], ids: list[str]) -> dict[str, Tensor]:
        if keep == cache.tokens_per_image:
            return tensors
        there = tensors.get("positions", torch.arange(grid, dtype=torch.int32).expand(len(ids), -1))
        if there.min() < 0 or there.max() >= grid:
            raise InsightError(f"{cache.folder}: expected positions from 0 to {grid - 1}, found others; make it again")
        kept = [smallest(patch_keys(id, grid, seed)[row], keep) for id, row in zip(ids, there.numpy(), strict=True)]
        places = torch.from_numpy(np.stack(kept)).long()
        image = torch.arange(len(ids))[:, None]
        of_images = {"pooled": tensors.pop("pooled")}
        return of_images | {name: tensor[image, places] for name, tensor in (tensors | {"positions": there}).items()}

    return change
