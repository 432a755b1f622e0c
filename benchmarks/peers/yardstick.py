"""What every peer's process shares: the task, the clocked batches, the measures. Needs torch and safetensors alone.

`python -m benchmarks.peers.PEER TASK ...`, each TASK the JSON form of `Task`, prints one JSON line a task: what `Clock`
and `quality` measured, or {"error": ...}. The peer's file gives `train(task, clock)`: it runs the peer's own loop over
the clock's batches and returns the dictionary. A step's time is the gap between two fetches of a batch by that loop, so
loss, gradients, optimiser, norm upkeep and the loop's own bookkeeping are all inside it; set-up and saving are not.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

FRACTIONS = (1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Share of the dictionary that each of the five Matryoshka levels adds."""
CLEAN = 0.06
"""A step counts when other processes took less than this share of the machine during it."""
QUIET = 0.05
"""Encoder rows of concepts that are held dead are this long: they are never among the largest."""
QUIET_LR = 1e-6
"""Step size while concepts are held dead, so that they stay so."""
LONG_AGO = 10**9
"""Tokens (or steps) for which a concept that is held dead is said to have been silent."""


@dataclass(frozen=True)
class Task:
    """One training run. Where a value is None the peer's own default stands."""

    data: str
    """safetensors file with "features" [n, d] float32, in random order."""
    arch: str = "topk"
    """matryoshka (BatchTopK with five levels), batch_topk or topk."""
    m: int = 512
    k: int = 32
    batch: int = 4096
    warmup: int = 3
    """First steps, which are not timed."""
    steps: int = 8
    """Steps that are timed; one more follows, because a step ends when the next batch is fetched."""
    dead: float = 0.0
    """Share of the concepts that is held dead, with the auxiliary loss on."""
    seed: int = 0
    lr: float | None = None
    lr_warmup: int | None = None
    """Steps of linear rise."""
    lr_decay: int | None = None
    """Last steps, of fall towards 0, where the peer's trainer can."""
    dead_after_tokens: int | None = None
    threads: int = 2
    precision: str = "highest"
    """torch.set_float32_matmul_precision."""
    measure: dict[str, str] = field(default_factory=dict)
    """Name to safetensors file with the features on which to measure the dictionary afterwards."""

    @property
    def n_batches(self) -> int:
        return self.warmup + self.steps + 1

    @property
    def n_tokens(self) -> int:
        return self.n_batches * self.batch

    @property
    def group_sizes(self) -> list[int]:
        """Concepts that each Matryoshka level adds."""
        sizes = [int(share * self.m) for share in FRACTIONS[:-1]]
        return [*sizes, self.m - sum(sizes)]

    @property
    def levels(self) -> list[int]:
        """Prefix sizes, rising: five of them for Matryoshka, else the whole dictionary alone."""
        return list(accumulate(self.group_sizes)) if self.arch == "matryoshka" else [self.m]

    @property
    def dead_concepts(self) -> Tensor:
        """Which concepts are held dead: the same for all peers."""
        return torch.randperm(self.m, generator=torch.Generator().manual_seed(7))[: round(self.dead * self.m)]

    @property
    def resolved_lr(self) -> float | None:
        return QUIET_LR if self.dead else self.lr


class Dictionary(NamedTuple):
    """A trained autoencoder in the common form: x̂ = b_dec + Σ a_j D_j, a = the largest of relu((x - b_dec) Eᵀ + b)."""

    encoder: Tensor
    """[m, d]"""
    decoder: Tensor
    """[m, d]"""
    encoder_bias: Tensor
    """[m]"""
    decoder_bias: Tensor
    """[d]"""


class Clock:
    """An iterator over a task's batches that stamps the time of each fetch."""

    def __init__(self, task: Task, features: Tensor) -> None:
        self.task, self.features = task, features
        self.n_rows = len(features) // task.batch * task.batch
        self.wall: list[float] = []
        self.own: list[float] = []
        self.machine: list[float | None] = []
        self.notes: dict[str, float] = {}
        """What a loop can tell of itself, beside the times: "dead_share", by its own count at the end."""

    def __len__(self) -> int:
        return self.task.n_batches

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        if len(self.wall) == self.task.n_batches:
            raise StopIteration
        start = self.stamp()
        return self.features[start : start + self.task.batch]

    def stamp(self) -> int:
        """Note that the next batch is fetched; the row at which it starts."""
        start = self.row(len(self.wall))
        self.wall.append(time.perf_counter())
        self.own.append(time.process_time())
        self.machine.append(_busy_seconds())
        return start

    def row(self, batch: int) -> int:
        """First row of a batch: batches lie one behind the other, and another seed starts at another of them."""
        if not self.n_rows:
            raise ValueError(f"{len(self.features)} rows of features are less than a batch of {self.task.batch}")
        return (batch + 7 * self.task.seed) * self.task.batch % self.n_rows

    def report(self) -> dict[str, Any]:
        """Milliseconds a step over undisturbed steps (over all where none was), their number, tokens a second."""
        first, last = self.task.warmup, self.task.n_batches - 1
        gaps = [self.wall[i + 1] - self.wall[i] for i in range(first, last)]
        clean = [gap for i, gap in enumerate(gaps, first) if self._others(i) < CLEAN]
        counted = clean or gaps
        median = statistics.median(counted)
        return {
            "ms": 1e3 * median,
            "ms_min": 1e3 * min(counted),
            "ms_max": 1e3 * max(counted),
            "tokens_per_s": self.task.batch / median,
            "timed_steps": len(gaps),
            "clean_steps": len(clean),
        }

    def _others(self, step: int) -> float:
        """Share of the machine that other processes took during a step; 0 where the system does not tell."""
        before, after = self.machine[step], self.machine[step + 1]
        if before is None or after is None:
            return 0.0
        others = (after - before) - (self.own[step + 1] - self.own[step])
        return others / ((self.wall[step + 1] - self.wall[step]) * (os.cpu_count() or 1))


@torch.no_grad()
def quality(
    dictionary: Dictionary, x: Tensor, k: int, per_token: bool, levels: Sequence[int], batch: int = 4096
) -> dict[str, Any]:
    """How well a dictionary explains features x [n, d] with k active concepts a token.

    Exactly k of each token, or the k n largest of each batch of n tokens. "fvu": Σ Var(x - x̂) / Σ Var(x), variances
    over tokens, sums over features; "fvu_levels": the same with the first concepts of `levels` only; "l0": concepts a
    token that are active indeed.
    """
    errors: list[list[Tensor]] = [[] for _ in levels]
    active = 0
    for chunk in x.split(batch):
        pre = ((chunk - dictionary.decoder_bias) @ dictionary.encoder.t() + dictionary.encoder_bias).relu_()
        entries, wanted = (pre, k) if per_token else (pre.view(1, -1), k * len(chunk))
        largest = entries.topk(wanted, dim=1, sorted=False)
        codes = torch.zeros_like(entries).scatter_(1, largest.indices, largest.values).view_as(pre)
        active += int(largest.values.count_nonzero())
        for level, found in zip(levels, errors):
            explained = codes[:, :level] @ dictionary.decoder[:level]
            found.append(chunk - dictionary.decoder_bias - explained)
    whole = x.double().var(0).sum()
    shares = [float(torch.cat(found).double().var(0).sum() / whole) for found in errors]
    return {"fvu": shares[-1], "fvu_levels": shares, "l0": active / len(x)}


def main(architectures: Sequence[str], train: Callable[[Task, Clock], Dictionary]) -> None:
    """Run the tasks of the command line, one after the other, and print one JSON line for each."""
    for argument in sys.argv[1:]:
        task = Task(**json.loads(argument))
        try:
            if task.arch not in architectures:
                raise ValueError(f"no {task.arch} here; there are {list(architectures)}")
            with contextlib.redirect_stdout(sys.stderr):
                measured = _run(task, train)
        except Exception as error:
            traceback.print_exc()
            measured = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(measured), flush=True)


def _run(task: Task, train: Callable[[Task, Clock], Dictionary]) -> dict[str, Any]:
    torch.set_num_threads(task.threads)
    torch.set_float32_matmul_precision(task.precision)
    torch.manual_seed(task.seed)
    clock = Clock(task, load_file(task.data)["features"])
    _load_optimisers()
    before = _resident_mb("VmRSS")
    dictionary = train(task, clock)
    timed = {**clock.report(), **clock.notes, "peak_mb": _resident_mb("VmHWM"), "start_mb": before}
    timed["precision_used"] = torch.get_float32_matmul_precision()
    for name, path in task.measure.items():
        x = load_file(path)["features"]
        timed[name] = quality(dictionary, x, task.k, task.arch == "topk", task.levels)
    return timed


def _load_optimisers() -> None:
    """torch loads 150 MB of its own code with the first step of any optimiser: not to be counted as training's."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.Adam([parameter]).step()


def _busy_seconds() -> float | None:
    """Processor seconds of the whole machine so far, idle and waiting left out; None where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split(None, 9)[1:9]
    except OSError:
        return None
    ticks = [int(value) for value in fields]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _resident_mb(name: str) -> float | None:
    """This process's resident memory (VmRSS) or its peak (VmHWM) in MB; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), None)
