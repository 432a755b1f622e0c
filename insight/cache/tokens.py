"""Blocks of tokens out of a row of shards: what training, scans and single images all read through.

Images, tokens and blocks of a cache are numbered through in the order of the shards: token k of the t of image i is
t i + k, block b of its p blocks is p i + b. Every block that is read is compared with its check.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from .blocks import block_checks, block_edges
from .dtypes import DTYPES, unpack
from .shard import Form, Shard, bytes_of

# Torch works on fewer numbers than this in the calling thread alone. Copying rows is memory's work and hardly gains
# from more threads, but it loses tenfold when they wait for each other on a busy machine (measured).
_SERIAL = 32768 - 1


@dataclass(frozen=True)
class Tokens:
    """Some tokens as they are stored: vectors [n, d] in the cache's dtype and, for int8, scales float32 [n]."""

    stored: Tensor
    scales: Tensor | None

    @classmethod
    def empty(cls, n: int, form: Form) -> Tokens:
        """Room for n tokens of such a cache."""
        scales = torch.empty(n) if form.dtype == "int8" else None
        return cls(torch.empty(n, form.dim, dtype=DTYPES[form.dtype]), scales)

    def part(self, start: int, stop: int) -> Tokens:
        """Some of them, in the same memory."""
        return Tokens(self.stored[start:stop], None if self.scales is None else self.scales[start:stop])

    def all(self) -> Tensor:
        """float32 [n, d]."""
        return self.take(torch.arange(len(self.stored)))

    def take(self, index: Tensor) -> Tensor:
        """The tokens at `index` [b] (int32 or int64) as float32 [b, d], a new tensor."""
        out = torch.empty(len(index), self.stored.shape[1])
        rows = max(1, _SERIAL // self.stored.shape[1])
        for part, places in zip(out.split(rows), index.split(rows), strict=True):
            scales = None if self.scales is None else self.scales.index_select(0, places)
            unpack(self.stored.index_select(0, places), scales, part)
        return out


@dataclass(frozen=True)
class _Job:
    """Runs of blocks of one shard, one behind the other in `out`. first: int64 [r], the first block of each, counted
    within the shard; count: int64 [r], how many."""

    shard: Shard
    first: np.ndarray
    count: np.ndarray
    out: Tokens


class ShardRow:
    """Shards in order. form: what they have in common. Holds no open files and no data."""

    def __init__(self, shards: Sequence[Shard], form: Form) -> None:
        self.shards = tuple(shards)
        self.form = form
        self.edges = block_edges(form.tokens)
        self.blocks = len(self.edges) - 1  # p
        self.starts = np.cumsum([0, *(shard.rows for shard in shards)])  # first image of each shard, and of none

    def find(self, image: int) -> tuple[int, int]:
        """An image's shard, by number, and its row there."""
        number = int(np.searchsorted(self.starts, image, side="right")) - 1
        return number, image - int(self.starts[number])

    def n_tokens(self, runs: np.ndarray) -> int:
        """Tokens in runs of blocks (int64 [r, 2]: first block, how many)."""
        return int(self._token(runs.sum(1)).sum() - self._token(runs[:, 0]).sum())

    def read(
        self, runs: np.ndarray, out: Tokens, threads: Executor | None = None, stopped: Event | None = None
    ) -> None:
        """Fill `out` with runs of blocks (int64 [r, 2]: first block, how many; ascending), one behind the other.

        threads: where given, they read different parts at the same time; stopped: no matter what is in `out`, return.
        `InsightError` names a shard that cannot be read or has a damaged block.
        """
        jobs = self._jobs(runs, out)

        def work(job: _Job) -> None:
            if stopped is None or not stopped.is_set():
                self._read(job)

        for _ in threads.map(work, jobs) if threads else map(work, jobs):
            pass

    def _token(self, block: np.ndarray) -> np.ndarray:
        """The first token of blocks."""
        image, place = np.divmod(block, self.blocks)
        return image * self.form.tokens + self.edges[place]

    def _jobs(self, runs: np.ndarray, out: Tokens) -> list[_Job]:
        starts = self.starts * self.blocks
        inner = starts[(starts > runs[0, 0])]
        # Runs are joined where they touch and cut where a shard ends.
        first, stop = runs[:, 0], runs.sum(1)
        joined = np.append(False, first[1:] == stop[:-1])
        first, stop = first[~joined], stop[np.append(~joined[1:], True)]
        cuts = inner[(np.searchsorted(first, inner, side="left") - np.searchsorted(stop, inner, side="right")) > 0]
        first, stop = np.sort(np.concatenate([first, cuts])), np.sort(np.concatenate([stop, cuts]))
        shard = np.searchsorted(starts, first, side="right") - 1
        sizes = self._token(stop) - self._token(first)
        ends = np.cumsum(sizes)
        edges = np.concatenate([[0], np.flatnonzero(np.diff(shard)) + 1, [len(first)]])
        jobs = []
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            number = int(shard[a])
            place = out.part(int(ends[a] - sizes[a]), int(ends[b - 1]))
            jobs.append(_Job(self.shards[number], first[a:b] - starts[number], stop[a:b] - first[a:b], place))
        return jobs

    def _read(self, job: _Job) -> None:
        shard, form = job.shard, self.form
        tokens = self._token(job.first)
        sizes = self._token(job.first + job.count) - tokens
        into = [(shard.starts["patches"], form.dim * DTYPES[form.dtype].itemsize, bytes_of(job.out.stored))]
        if job.out.scales is not None:
            into.append((shard.starts["scales"], 4, bytes_of(job.out.scales)))
        low, high = int(job.first[0]) // self.blocks, int(job.first[-1] + job.count[-1] - 1) // self.blocks + 1
        with shard.opened() as file:
            expected = shard.tensor(file, "checks", low, high - low).numpy()
            for start, width, memory in into:
                view, at = memoryview(memory), 0
                for first, size in zip((start + tokens * width).tolist(), (sizes * width).tolist(), strict=True):
                    _fill(shard, file.fileno(), view[at : at + size], first)
                    at += size
        blocks = np.concatenate([np.arange(a, a + n) for a, n in zip(job.first, job.count, strict=True)])
        image, place = np.divmod(blocks, self.blocks)
        lengths = torch.from_numpy(np.diff(self.edges)[place])
        found = block_checks(job.out.stored, job.out.scales, lengths).numpy()
        wrong = np.flatnonzero(found != expected[image - low, place])
        if len(wrong):
            raise damaged(shard, f"the patches of its image {image[wrong[0]]}")


def damaged(shard: Shard, what: str) -> InsightError:
    """The error for a shard whose data and checks do not agree."""
    return InsightError(
        f"{shard.path}: damaged: {what} do not fit their checksum; restore the file or make the cache again"
        f" (`insight cache verify {shard.path.parent}` names every damaged file)"
    )


def _fill(shard: Shard, descriptor: int, view: memoryview, offset: int) -> None:
    while len(view):
        count = os.preadv(descriptor, [view], offset)
        if not count:
            raise InsightError(f"{shard.path}: ends too early; it changed after the cache was opened")
        view, offset = view[count:], offset + count
