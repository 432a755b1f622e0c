"""Shards made anew of the images of a cache: read a few at a time, every block checked, changed and written.

A new shard holds as many images as the largest old one, or fewer where those would take too much memory; which images
are taken, in ascending order, and what becomes of their tensors is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ..format.blocks import image_checks
from ..format.index import cut, stream_index
from ..format.shard import Form, Shard, with_checks, write_shard
from ..reading.reader import FeatureCache
from ..reading.tokens import damaged
from .derive import NewShard

Change = Callable[[dict[str, Tensor], list[str]], dict[str, Tensor]]
"""The tensors of some images as a shard has them, and their ids → the tensors of the new form, all without checks."""

_BYTES_OF_SHARD = 1 << 28  # the most that a new shard takes in memory …
_BYTES_AT_ONCE = 1 << 22  # … and about the float32 patches that are worked on at a time


def rewritten(cache: FeatureCache, chosen: np.ndarray, form: Form, change: Change) -> Iterator[NewShard]:
    """The new shards, of `form`, for the images with the numbers `chosen` (int64, ascending)."""
    of_shard = np.array([stored.rows for stored in cache.manifest.shards])
    ends = np.cumsum(of_shard)
    rows = min(int(of_shard.max()), max(1, _BYTES_OF_SHARD // _bytes_of_image(form)))
    groups = [chosen[start : start + rows] for start in range(0, len(chosen), rows)]
    lines = cut(_only(chosen, stream_index(cache.folder, cache.manifest)), [len(group) for group in groups])
    for group, images in zip(groups, lines, strict=True):
        yield NewShard(images, partial(_make, cache, ends, group, images["id"], form, change))


def read_checked(shard: Shard, file: FileIO, first: int, rows: int) -> dict[str, Tensor]:
    """All tensors but the checks of some images; `InsightError` names the shard if a check does not agree."""
    names = [name for name in shard.form.tensors(rows) if name != "checks"]
    tensors = {name: shard.tensor(file, name, first, rows) for name in names}
    others = [tensors[name] for name in shard.form.rest]
    agree = image_checks(tensors["patches"], tensors.get("scales"), others) == shard.tensor(file, "checks", first, rows)
    if not agree.all():
        row = first + int(agree.all(1).int().argmin())
        raise damaged(shard, f"the features of its image {row}")
    return tensors


def _only(chosen: np.ndarray, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The lines of the chosen images."""
    seen = 0
    for lines in batches:
        first, last = np.searchsorted(chosen, [seen, seen + len(lines)])
        yield lines.take(pa.array(chosen[first:last] - seen))
        seen += len(lines)


def _make(
    cache: FeatureCache, ends: np.ndarray, images: np.ndarray, ids: pa.Array, form: Form, change: Change, path: Path
) -> tuple[int, str]:
    """Write the shard of some images (their numbers, ascending) → (bytes, SHA-256). ends: images up to the end of each
    old shard."""
    new = {
        name: torch.empty(shape, dtype=dtype)
        for name, (dtype, shape) in form.tensors(len(images)).items()
        if name != "checks"
    }
    at = 0
    of_image = np.searchsorted(ends, images, side="right")
    for number in np.unique(of_image).tolist():
        stored = cache.manifest.shards[number]
        shard = Shard.open(cache.folder / stored.file, cache.manifest.form, rows=stored.rows, size=stored.bytes)
        rows = images[of_image == number] - (ends[number] - stored.rows)
        with shard.opened() as file:
            for first, count in _runs(rows, max(1, _BYTES_AT_ONCE // (4 * shard.form.tokens * shard.form.dim))):
                changed = change(read_checked(shard, file, first, count), ids.slice(at, count).to_pylist())
                for name, tensor in changed.items():
                    new[name][at : at + count] = tensor
                at += count
    return write_shard(path, with_checks(new, form))


def _runs(rows: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Ascending rows as runs of neighbours: (first, count), none longer than `longest`."""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        for start in range(0, len(run), longest):
            yield int(run[start]), min(longest, len(run) - start)


def _bytes_of_image(form: Form) -> int:
    return sum(math.prod(shape) * dtype.itemsize for dtype, shape in form.tensors(1).values())
