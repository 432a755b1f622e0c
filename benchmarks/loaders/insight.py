"""Ours: shards as `insight.cache` writes them, read through `FeatureCache`. Runs the plain loaders as well, so that a
round goes through all of them in turns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from torch import Tensor

from benchmarks.loaders import plain
from benchmarks.loaders.job import SHARD_IMAGES, Job, Loader, main
from insight.cache import FeatureCache
from insight.cache.format.dtypes import pack
from insight.cache.format.index import write_index, write_skipped
from insight.cache.format.manifest import Manifest, StoredShard
from insight.cache.format.shard import Form, with_checks, write_shard


def write(job: Job, features: Tensor) -> None:
    """From features in memory to a whole cache: packed, with checks and checksums, synced."""
    form = Form(job.tokens, job.dim, job.dtype)
    shards = []
    for number, part in enumerate(features.split(SHARD_IMAGES)):
        stored, scales = pack(part, job.dtype)
        tensors = {"patches": stored, "pooled": part.mean(1)} | ({} if scales is None else {"scales": scales})
        name = f"shard-{number:05d}.safetensors"
        shards.append(StoredShard(name, *write_shard(job.path / name, with_checks(tensors, form)), len(part)))
    backbone = {"name": "none", "description": "none", "fingerprint": hashlib.sha256(b"benchmark").hexdigest()}
    _manifest(job.path, shards, backbone | {"dim": job.dim, "grid": [1, job.tokens], "image_size": 1}, job.dtype)


def repeated(folder: Path, out: Path, size: int) -> int:
    """A cache of at least `size` bytes in `out` whose shards are those of the one in `folder`, linked again and again;
    returns how many images it has."""
    manifest = Manifest.read(folder)
    times = -(-size // sum(shard.bytes for shard in manifest.shards))
    out.mkdir(parents=True)
    shards = []
    for number, shard in enumerate(manifest.shards * times):
        name = f"shard-{number:05d}.safetensors"
        os.link(folder / shard.file, out / name)
        shards.append(replace(shard, file=name))
    _manifest(out, shards, manifest.backbone, manifest.dtype)
    return sum(shard.rows for shard in shards)


def read(job: Job) -> Iterator[Tensor]:
    cache = FeatureCache.open(job.path, shuffle_memory=job.memory)
    with closing(cache.batches(job.batch, seed=job.seed)) as batches:  # type: ignore[type-var]
        yield from islice(batches, cache.n_tokens // job.batch)


def scan(job: Job) -> Iterator[Tensor]:
    yield from (features for _, features in FeatureCache.open(job.path).scan())


def images(job: Job) -> Iterator[Tensor]:
    cache = FeatureCache.open(job.path)
    yield from (cache.image(image) for image in job.order().tolist())


def _manifest(folder: Path, shards: Sequence[StoredShard], backbone: dict[str, object], dtype: str) -> None:
    sizes = [shard.rows for shard in shards]
    columns = (
        {
            "id": [f"{number:06d}/{row:06d}" for row in range(rows)],
            "source": ["benchmark"] * rows,
            "label": [None] * rows,
            "split": [None] * rows,
        }
        for number, rows in enumerate(sizes)
    )
    Manifest(
        backbone=backbone,
        dtype=dtype,
        tokens_per_image=backbone["grid"][1],  # type: ignore[index]
        classes=(),
        shards=tuple(shards),
        index=write_index(folder, columns),
        skipped=write_skipped(folder, []),
        sources=({"name": "benchmark", "kind": "list", "place": "none"},),
        settings={},
    ).write(folder)


if __name__ == "__main__":
    main({"insight": Loader(write, read, scan, images), **plain.LOADERS})
