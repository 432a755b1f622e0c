"""What every loader's process shares: the job, cold and warm files, the clock. Needs torch and numpy alone.

`python -m benchmarks.loaders.MODULE JOB ...`, each JOB the JSON form of `Job`, prints one JSON line a job: what
`measure` found, or {"error": ...}. A module gives a `Loader` for each name that it knows: what a user of that loader
would call, and nothing in between. Seconds run from before the files are opened to the last batch; batches are float32
[b, d] tensors in memory of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHARD_IMAGES = 256
"""In each file, for all who cut their data into files."""


@dataclass(frozen=True)
class Job:
    """One thing to do and to time. Tokens are numbered through image by image."""

    loader: str
    action: str
    """write, read (one shuffled epoch), scan (everything in order) or images (whole images at random)."""
    place: str
    """Folder of the loader's files, and of nothing else."""
    source: str
    """File with the float32 numbers of all tokens, which writers load into memory before the clock starts."""
    images: int
    tokens: int
    """Of each image."""
    dim: int
    dtype: str = "float32"
    cold: bool = False
    """Whether the system is told to forget the files first; else they are read once before the clock starts."""
    batch: int = 4096
    memory: int = 256 << 20
    """Bytes that a loader may hold to shuffle in, where it can be told."""
    seed: int = 0
    most_seconds: float = 30.0
    most_images: int = 4096
    """Of the action `images`."""
    threads: int = 2

    @property
    def n_tokens(self) -> int:
        return self.images * self.tokens

    @property
    def epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.n_tokens // self.batch

    @property
    def path(self) -> Path:
        return Path(self.place)

    def features(self) -> Tensor:
        """[images, tokens, dim] float32 of the source, in memory."""
        numbers = np.fromfile(self.source, dtype=np.float32, count=self.n_tokens * self.dim)
        return torch.from_numpy(numbers).view(self.images, self.tokens, self.dim)

    def order(self) -> Tensor:
        """Which images the action `images` asks for."""
        return torch.randperm(self.images, generator=torch.Generator().manual_seed(self.seed))[: self.most_images]


@dataclass(frozen=True)
class Loader:
    """What a loader can do. Readers yield float32 [b, d]; what yields bytes ([n] uint8) is raw."""

    write: Callable[[Job, Tensor], None]
    read: Callable[[Job], Iterator[Tensor]]
    scan: Callable[[Job], Iterator[Tensor]] | None = None
    images: Callable[[Job], Iterator[Tensor]] | None = None


def main(loaders: Mapping[str, Loader]) -> None:
    for argument in sys.argv[1:]:
        job = Job(**json.loads(argument))
        torch.set_num_threads(job.threads)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = measure(job, loaders[job.loader])
        except Exception as error:
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(found), flush=True)


def measure(job: Job, loader: Loader) -> dict[str, Any]:
    """Seconds, tokens and bytes; of reading, besides: seconds to the first batch, mean |x| of the first feature (do
    they give the same tokens?), MB that came from the disk, the process's memory before and at its peak."""
    if job.action == "write":
        features = job.features()
        shutil.rmtree(job.path, ignore_errors=True)
        job.path.mkdir(parents=True)
        begin = time.perf_counter()
        loader.write(job, features)
        for file in files_below(job.path):
            _on(file, os.fsync)
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "tokens": job.n_tokens, "bytes": bytes_below(job.path)}
    (forget if job.cold else touch)(job.path)
    return _read(job, getattr(loader, job.action))


def _read(job: Job, read: Callable[[Job], Iterator[Tensor]]) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak of memory is what there is now
    disk, before = _disk_mb(), resident_mb("VmRSS")
    tokens, size, total, first = 0, 0, 0.0, None
    begin = time.perf_counter()
    with contextlib.closing(read(job)) as pieces:  # type: ignore[type-var]
        for piece in pieces:
            seconds = time.perf_counter() - begin
            first = seconds if first is None else first
            if piece.dim() == 1:
                size += len(piece)
            else:
                tokens += len(piece)
                total += float(piece[:, 0].abs().sum())
            if seconds > job.most_seconds:
                break
        seconds = time.perf_counter() - begin
    whole = bytes_below(job.path)
    found: dict[str, Any] = {"seconds": seconds, "first_seconds": first, "disk_mb": _disk_mb() - disk}
    if tokens:
        found |= {"tokens": tokens, "bytes": whole * tokens / job.n_tokens, "mean": total / tokens}
    else:
        found |= {"tokens": job.n_tokens * size / whole, "bytes": size}
    return found | {"start_mb": before, "peak_mb": resident_mb("VmHWM")}


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in files_below(folder))


def forget(folder: Path) -> None:
    """Have the system drop the files' pages. (What lies below it, such as a hypervisor, may still hold them.)"""
    for file in files_below(folder):
        _on(file, os.fsync)
        _on(file, lambda descriptor: os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED))


def touch(folder: Path) -> None:
    """Read the files once, so that the system holds them."""
    for _ in pieces_of(folder):
        pass


def pieces_of(folder: Path) -> Iterator[Tensor]:
    """All bytes below a folder, file by file, as [n] uint8 that the next piece overwrites."""
    buffer = torch.empty(1 << 22, dtype=torch.uint8)
    view = memoryview(buffer.numpy())
    for path in files_below(folder):
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(view):
                yield buffer[:count]


def resident_mb(name: str) -> float:
    """This process's resident memory (VmRSS) or its peak (VmHWM) in MB; not a number where the system does not tell."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
    return float("nan")


def _disk_mb() -> float:
    """What this process and its ended children have had read from disks so far."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1e6 for line in lines if line.startswith("read_bytes"))
    return float("nan")


def _on(file: Path, act: Callable[[int], None]) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        act(descriptor)
    finally:
        os.close(descriptor)
