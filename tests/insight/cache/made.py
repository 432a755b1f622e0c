"""Caches of random features, written without the writer: any form, shards of any sizes, and what is in them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from insight.cache.format.dtypes import pack, unpack
from insight.cache.format.index import write_index, write_skipped
from insight.cache.format.manifest import Manifest, StoredShard
from insight.cache.format.shard import Form, with_checks, write_shard


@dataclass(frozen=True)
class Made:
    """A cache in `folder` and, over all images, its patches as they are read back [n, t, d] float32, and the rest."""

    folder: Path
    patches: Tensor
    pooled: Tensor
    positions: Tensor
    classes: Tensor


def make_cache(
    folder: Path,
    patches: Tensor,
    rows: Sequence[int],
    *,
    dtype: str = "float32",
    grid: tuple[int, int] | None = None,
    classes: int = 0,
) -> Made:
    """Write patches float32 [n, t, d] as a cache with shards of `rows` images.

    grid: of which t patches were kept, drawn at random (default: one row of t); classes: how many masks know.
    """
    n, t, d = patches.shape
    grid = grid or (1, t)
    positions = torch.rand(n, grid[0] * grid[1]).argsort(1)[:, :t].sort(1).values.int()
    made = Made(
        folder, torch.empty_like(patches), torch.randn(n, d), positions, torch.randint(-1, classes or 1, (n, t))
    )
    form = Form(t, d, dtype, grid[0] * grid[1] > t, classes > 0)
    folder.mkdir(parents=True)
    shards, columns, at = [], [], 0
    for number, count in enumerate(rows):
        these = slice(at, at + count)
        stored, scales = pack(patches[these], dtype)
        unpack(stored, scales, made.patches[these])
        tensors = {"patches": stored, "pooled": made.pooled[these]}
        tensors |= {} if scales is None else {"scales": scales}
        tensors |= {"positions": positions[these]} if form.has_positions else {}
        tensors |= {"classes": made.classes[these].short()} if form.has_classes else {}
        name = f"shard-{number:05d}.safetensors"
        size, sha256 = write_shard(folder / name, with_checks(tensors, form))
        shards.append(StoredShard(name, size, sha256, count))
        ids = [f"{at + i:04d}" for i in range(count)]
        columns.append({"id": ids, "source": ["made"] * count, "label": [None] * count, "split": [None] * count})
        at += count
    skipped = {"id": ["bad"], "source": ["made"], "reason": ["empty (zero bytes)"]}
    fingerprint = hashlib.sha256(b"made").hexdigest()
    Manifest(
        backbone={"name": "made", "description": "Random.", "fingerprint": fingerprint, "dim": d, "grid": list(grid)}
        | {"image_size": 24},
        dtype=dtype,
        tokens_per_image=t,
        classes=tuple(f"class {number}" for number in range(classes)),
        shards=tuple(shards),
        index=write_index(folder, columns),
        skipped=write_skipped(folder, [skipped]),
        sources=({"name": "made", "kind": "folder", "place": "nowhere"},),
        settings={},
    ).write(folder)
    return made
