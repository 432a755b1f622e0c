"""What anybody would write without a library: the bare disk, numpy's memory maps, files of torch.save."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.loaders.job import SHARD_IMAGES, Job, Loader, pieces_of

BLOCK = 64
_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


def write_raw(job: Job, features: Tensor) -> None:
    """As many bytes as the vectors take in the job's dtype (with a scale for int8), in pieces of 4 MB."""
    left = job.n_tokens * (job.dim * _SIZES[job.dtype] + (4 if job.dtype == "int8" else 0))
    view = memoryview(features.view(-1).numpy()).cast("B")
    with (job.path / "raw.bin").open("wb", buffering=0) as file:
        while left:
            left -= file.write(view[: min(left, 1 << 22)])


def read_raw(job: Job) -> Iterator[Tensor]:
    """The bytes of whatever lies in the folder."""
    return pieces_of(job.path)


def write_memmap(job: Job, features: Tensor) -> None:
    shape = (job.n_tokens, job.dim)
    tokens = np.memmap(_memmap(job), dtype=np.float32, mode="w+", shape=shape)
    tokens[:] = features.view(shape).numpy()
    tokens.flush()


def read_rows(job: Job) -> Iterator[Tensor]:
    """Batches of rows of the map in random order."""
    tokens = np.memmap(_memmap(job), dtype=np.float32, mode="r", shape=(job.n_tokens, job.dim))
    order = np.random.default_rng(job.seed).permutation(job.n_tokens)
    for batch in range(job.epoch):
        yield torch.from_numpy(tokens[order[batch * job.batch : (batch + 1) * job.batch]])


def read_blocks(job: Job) -> Iterator[Tensor]:
    """Random blocks of 64 rows of the map fill a pool, whose rows are then given in random order."""
    tokens = np.memmap(_memmap(job), dtype=np.float32, mode="r", shape=(job.n_tokens, job.dim))
    rng = np.random.default_rng(job.seed)
    starts = rng.permutation(np.arange(0, job.n_tokens, BLOCK))
    pools = np.array_split(starts, -(-job.n_tokens * job.dim * 4 // job.memory))
    left = np.empty((0, job.dim), dtype=np.float32)
    for pool in pools:
        rows = np.concatenate([left, *(tokens[start : start + BLOCK] for start in pool)])
        order = rng.permutation(len(rows))
        whole = len(rows) // job.batch * job.batch
        for first in range(0, whole, job.batch):
            yield torch.from_numpy(rows[order[first : first + job.batch]])
        left = rows[order[whole:]]


def scan_memmap(job: Job) -> Iterator[Tensor]:
    tokens = np.memmap(_memmap(job), dtype=np.float32, mode="r", shape=(job.n_tokens, job.dim))
    for first in range(0, job.n_tokens, job.batch):
        yield torch.from_numpy(tokens[first : first + job.batch].copy())


def images_of_memmap(job: Job) -> Iterator[Tensor]:
    tokens = np.memmap(_memmap(job), dtype=np.float32, mode="r", shape=(job.images, job.tokens, job.dim))
    for image in job.order().tolist():
        yield torch.from_numpy(tokens[image].copy())


def write_files(job: Job, features: Tensor) -> None:
    for number, part in enumerate(features.split(SHARD_IMAGES)):
        torch.save(part.flatten(0, 1).clone(), job.path / f"{number:05d}.pt")


def read_files(job: Job) -> Iterator[Tensor]:
    """Files in random order, the rows of each in random order: shuffled within a file alone."""
    generator = torch.Generator().manual_seed(job.seed)
    files = sorted(job.path.glob("*.pt"))
    left = torch.empty(0, job.dim)
    for number in torch.randperm(len(files), generator=generator).tolist():
        rows = torch.load(files[number], weights_only=True)
        rows = torch.cat([left, rows[torch.randperm(len(rows), generator=generator)]])
        whole = len(rows) // job.batch * job.batch
        yield from rows[:whole].split(job.batch)
        left = rows[whole:]


def _memmap(job: Job) -> Path:
    return job.path / "tokens.f32"


LOADERS = {
    "raw": Loader(write_raw, read_raw),
    "memmap, rows": Loader(write_memmap, read_rows, scan_memmap, images_of_memmap),
    "memmap, blocks": Loader(write_memmap, read_blocks),
    "torch files": Loader(write_files, read_files),
}
