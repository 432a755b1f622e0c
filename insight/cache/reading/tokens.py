"""Blocks of tokens out of a row of shards: what training, scans and single images all read through.

Images, tokens and blocks of a cache are numbered through in the order of the shards: token k of the t of image i is
t i + k, block b of its p blocks is p i + b. Every block that is read is compared with its check.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from threading import Event

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from ..format.blocks import LONGEST, block_checks, block_edges
from ..format.dtypes import DTYPES, unpack
from ..format.shard import Form, Shard, bytes_of
from .disk import open_file

# Torch works on fewer numbers than this in the calling thread alone. Copying rows is memory's work and hardly gains
# from more threads, but it loses tenfold when they wait for each other on a busy machine (measured).
_SERIAL = 32768 - 1
_RUN = 1 << 20  # bytes read in one piece
_JOB = 1 << 23  # bytes read and then checked by one thread


@dataclass(frozen=True)
class Tokens:
    """Some tokens as they are stored: vectors [n, d] in the cache's dtype and, for int8, scales float32 [n]."""

    stored: Tensor
    scales: Tensor | None

    @classmethod
    def empty(cls, n: int, form: Form) -> Tokens:
        """Room for n tokens of such a cache."""
        scales = torch.empty(n) if form.dtype == "int8" else None
        return cls(_memory(n, form.dim, DTYPES[form.dtype]), scales)

    def part(self, start: int, stop: int) -> Tokens:
        """Some of them, in the same memory."""
        return Tokens(self.stored[start:stop], None if self.scales is None else self.scales[start:stop])

    def all(self) -> Tensor:
        """float32 [n, d]."""
        return self.take(torch.arange(len(self.stored)))

    def take(self, index: Tensor) -> Tensor:
        """The tokens at `index` [b] (int32 or int64) as float32 [b, d], a new tensor."""
        out = _memory(len(index), self.stored.shape[1], torch.float32)
        rows = max(1, _SERIAL // self.stored.shape[1])
        for part, places in zip(out.split(rows), index.split(rows), strict=True):
            scales = None if self.scales is None else self.scales.index_select(0, places)
            unpack(self.stored.index_select(0, places), scales, part)
        return out


def _memory(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor [rows, width]. Its memory comes from numpy, which asks the system for large pages; torch
    does not, and batches are served three times as fast (measured).
    """
    return torch.from_numpy(np.empty(rows * width * dtype.itemsize, dtype=np.uint8)).view(dtype).view(rows, width)


def room_for(memory: int, form: Form) -> int:
    """How many tokens of such a cache fit into so many bytes, each with its place in the order of their visit."""
    scale = 4 if form.dtype == "int8" else 0
    return memory // (form.dim * DTYPES[form.dtype].itemsize + scale + 4)


class ShardRow:
    """Shards in order. form: what they have in common. Holds no open files and no data."""

    def __init__(self, shards: Sequence[Shard], form: Form) -> None:
        self.shards = tuple(shards)
        self.form = form
        self.edges = block_edges(form.tokens)
        self.blocks = len(self.edges) - 1  # p
        self.starts = np.cumsum([0, *(shard.rows for shard in shards)])  # first image of each shard, and of none
        self.width = form.dim * DTYPES[form.dtype].itemsize  # bytes of a token

    def find(self, image: int) -> tuple[int, int]:
        """An image's shard, by number, and its row there."""
        number = int(np.searchsorted(self.starts, image, side="right")) - 1
        return number, image - int(self.starts[number])

    def read(
        self, runs: np.ndarray, out: Tokens, threads: Executor | None = None, stopped: Event | None = None
    ) -> None:
        """Fill `out` with runs of blocks, one behind the other, all of them compared with their checks.

        runs: int64 [r, 2], first block and how many, ascending, each within one shard; threads: where given, they read
        different parts at the same time; stopped: once it is set nobody wants `out` any more.
        `InsightError` names a shard that cannot be read or has a damaged block.
        """
        first, count = _cut(runs[:, 0], runs[:, 1], max(1, _RUN // (self.width * LONGEST)))
        sizes = self._token(first + count) - self._token(first)
        ends = np.cumsum(sizes)
        jobs = np.unique(np.searchsorted(ends, np.arange(0, ends[-1], max(1, _JOB // self.width)), side="right"))

        def work(start: int, stop: int) -> None:
            if stopped is None or not stopped.is_set():
                place = out.part(int(ends[start] - sizes[start]), int(ends[stop - 1]))
                self._read(first[start:stop], count[start:stop], place)

        for _ in (threads.map if threads else map)(work, jobs.tolist(), [*jobs[1:].tolist(), len(first)]):
            pass

    def _token(self, block: np.ndarray) -> np.ndarray:
        """The first token of blocks."""
        image, place = np.divmod(block, self.blocks)
        return image * self.form.tokens + self.edges[place]

    def _read(self, first: np.ndarray, count: np.ndarray, out: Tokens) -> None:
        """Read runs and compare them with their checks."""
        shard = np.searchsorted(self.starts, first // self.blocks, side="right") - 1
        edges = [0, *(np.flatnonzero(np.diff(shard)) + 1).tolist(), len(first)]
        tokens = np.append(0, np.cumsum(self._token(first + count) - self._token(first))).tolist()
        expected = [
            self._fill(int(shard[a]), first[a:b], count[a:b], out.part(tokens[a], tokens[b]))
            for a, b in pairwise(edges)
        ]
        image, block = np.divmod(_numbers(first, count), self.blocks)
        sizes = torch.from_numpy(np.diff(self.edges)[block])
        wrong = np.flatnonzero(block_checks(out.stored, out.scales, sizes).numpy() != np.concatenate(expected))
        if len(wrong):
            number, row = self.find(int(image[wrong[0]]))
            raise damaged(self.shards[number], f"the patches of its image {row}")

    def _fill(self, number: int, first: np.ndarray, count: np.ndarray, out: Tokens) -> np.ndarray:
        """Read runs of blocks of one shard and return what the shard says their checks are."""
        shard, before = self.shards[number], int(self.starts[number])
        tokens = self._token(first)
        sizes = self._token(first + count) - tokens
        places = np.cumsum(sizes) - sizes
        image, block = np.divmod(_numbers(first, count), self.blocks)
        low, high = int(image[0]), int(image[-1]) + 1
        checks = np.empty((high - low, self.blocks + 1), dtype=np.int64)
        with open_file(shard.path) as file:
            start = shard.starts["checks"] + (low - before) * checks[0].nbytes
            stretches = [(start, checks.reshape(-1).view(np.uint8))]
            for name, stored in (("patches", out.stored), ("scales", out.scales)):
                if stored is not None:
                    memory = bytes_of(stored)
                    width = memory.size // len(stored)
                    starts = shard.starts[name] + (tokens - before * self.form.tokens) * width
                    parts = np.split(memory, places[1:] * width)
                    stretches += zip(starts.tolist(), parts, strict=True)
            for offset, memory in stretches:
                file.announce(offset, memory.size)
            for offset, memory in stretches:
                file.fill(memory, offset)
        return checks[image - low, block]


def damaged(shard: Shard, what: str) -> InsightError:
    """The error for a shard whose data and checks do not agree."""
    return InsightError(
        f"{shard.path}: damaged: {what} do not fit their checksum; restore the file or make the cache again"
        f" (`insight cache verify {shard.path.parent}` names every damaged file)"
    )


def _numbers(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """All numbers of runs, one run after the other."""
    ends = np.cumsum(count)
    return np.repeat(first + count - ends, count) + np.arange(ends[-1])


def _cut(first: np.ndarray, count: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Runs cut where they are longer than `longest`, as first number and count."""
    parts = -(-count // longest)
    number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    return np.repeat(first, parts) + number * longest, np.minimum(np.repeat(count, parts) - number * longest, longest)
