"""The training loop: a token source and two configs in, a folder with a trained autoencoder out, safe against any stop.

Results are float32. On processors that multiply bfloat16 fast, the one dense product of a step is a bfloat16 screen
that is settled in float32 (`preactivations`). Elsewhere it follows `torch.set_float32_matmul_precision`: at "highest"
(torch's default) plain float32; "high" or "medium" allow TF32 or bfloat16 on a GPU, and on x86 processors another
library whose float32 product is often nearly twice as fast at the same accuracy. Compare and resume runs under one
setting.

Under torchrun all processes make the same call; see `train`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from tqdm import tqdm

from .autoencoder import SparseAutoencoder
from .checkpoint import Checkpoint, refuse_other_settings
from .config import SaeConfig, TrainConfig
from .distributed import Parallel, Ranks, local_device, ranks_of
from .errors import InsightError
from .files import read_json
from .interruption import Interruption
from .learner import Learner, Report
from .monitor import Monitor, open_monitor
from .sources import Reading, SharedSource, TokenSource

_LOGGED_STEPS = 1000
_SHOWN_EVERY = 0.5
"""Seconds."""
_SHARING = "sharing_processes"
"""What "data" calls the number of processes that share a source."""


@dataclass(frozen=True)
class Job:
    """One of several autoencoders that are trained in one pass over the data."""

    config: SaeConfig
    train: TrainConfig
    out: Path | str
    extra: dict[str, Any] | None = None
    """Top-level keys for config.json."""


def train(
    source: TokenSource,
    config: SaeConfig,
    train: TrainConfig,
    out: Path | str,
    *,
    extra: dict[str, Any] | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
    monitor: Monitor | None = None,
    parallel: Parallel = "data",
) -> SparseAutoencoder:
    """Train on `source` into folder `out` and return the autoencoder (on the CPU, for raw features).

    Writes `out` as `SparseAutoencoder.save_pretrained` does (config.json also holds "train", "data" and the keys of
    `extra`) and `out/training.jsonl` (step, loss, fvu per level, l0, dead share; at most ~2,000 lines), whose lines
    `monitor` gets as well. On CUDA "inexact" in a line counts the batches so far whose BatchTopK found its cut too high
    or its shortlist too short, so that other pairs may have been chosen than the k n largest (no such key: none).
    Checkpoints go to `out/checkpoint/` by the clock and on SIGINT and SIGTERM. The same call goes on after any stop,
    kill -9 included, and ends with the same bytes as a run that was never stopped (on the CPU with the same number of
    threads; CUDA's sums may be made in another order each time); on a finished folder it returns at once. `device`
    defaults to CUDA where there is one.

    Started by torchrun (or in processes that torch.distributed has joined already), all processes train one
    autoencoder, the same as one process would up to the order of sums, and all return it. `parallel` "data": each
    learns from its part of every batch. Of a `SharedSource` each reads its own share alone; the batches are then others
    than those of one process, though each epoch has every token once, and a run goes on after a stop with as many
    processes only. Of another source each reads whole batches, and any number goes on. "concepts": each holds a slice
    of the dictionary, with its encoder and Adam's state, and sees all tokens, so that dictionaries fit which one device
    cannot hold; selections `batch_topk` and `topk`; goes on after a stop with as many processes. `out` is one folder
    for all, to which the first process writes.

    `InsightError`: other settings than those the folder was started with; features of another width, NaN or infinite;
    a loss that diverges.
    """
    job = Job(config, train, out, extra)
    return train_many(source, [job], progress=progress, device=device, monitor=monitor, parallel=parallel)[0]


def train_many(
    source: TokenSource,
    jobs: Sequence[Job],
    *,
    progress: bool = True,
    device: torch.device | str | None = None,
    monitor: Monitor | None = None,
    parallel: Parallel = "data",
) -> list[SparseAutoencoder]:
    """Train several autoencoders (sizes, k, seeds, ...) on the same batches, each as `train` would into its own folder.

    Features are read once for all. Each folder can be finished, gone on with or begun on its own.

    `InsightError`, beside those of `train`: jobs that differ in `batch_size` or data seed, or share a folder.
    """
    if not jobs or len({(job.train.batch_size, job.train.resolved_data_seed) for job in jobs}) != 1:
        raise InsightError("train_many: expected jobs of one batch_size and one data_seed; set data_seed in each")
    if len({Path(job.out).resolve() for job in jobs}) != len(jobs):
        raise InsightError("train_many: expected a folder for each job, found one that is named twice")
    place = local_device(_device(device))
    ranks = ranks_of(parallel, place)
    with ranks.everyone.together():
        runs = [_Run(source, job, place, monitor, ranks) for job in jobs]
    _advance([run for run in runs if not run.finished], source, progress, ranks)
    return [run.finish() for run in runs]


def _advance(runs: Sequence[_Run], source: TokenSource, show_progress: bool, ranks: Ranks) -> None:
    """Take all runs to their ends, or to where an interruption of any process stops them all."""
    if not runs:
        return
    train, everyone = runs[0].job.train, ranks.everyone
    step, last = min(run.step for run in runs), max(run.job.train.steps for run in runs)
    with everyone.together():
        reading = Reading(source, train.batch_size, ranks.tokens)
        batches = reading.batches(seed=train.resolved_data_seed, start_step=step)
    bar = tqdm(
        total=last * train.batch_size,
        initial=step * train.batch_size,
        desc="training",
        unit="tok",
        unit_scale=True,
        disable=not show_progress or everyone.rank > 0,
    )
    shown_at = 0.0
    with Interruption() as interruption, bar, ExitStack() as ends:
        if isinstance(batches, Generator):
            ends.callback(batches.close)  # a source's threads must not work on while an error goes its way
        while True:
            signal, *due = everyone.largest([interruption.requested or 0, *(run.is_due for run in runs)])
            interruption.requested = signal or None
            for run, is_due in zip(runs, due):
                if signal or is_due:
                    run.save()
            if signal or step == last:
                break
            with everyone.together():
                batch = runs[0].checked(next(batches), reading.n_rows, step)
            for run in runs:
                run.take(reading.own(batch, run.job.train.accumulate), step)
            step += 1
            bar.update(train.batch_size)
            shown = runs[0].report
            if shown and not bar.disable and (time.monotonic() - shown_at >= _SHOWN_EVERY or step == last):
                shown_at = time.monotonic()
                bar.set_postfix(step=step, loss=float(shown.loss), fvu=float(shown.fvu[-1]), refresh=False)
    for run in runs:
        run.close()
    if signal:
        raise KeyboardInterrupt  # a handler that lets the process live has not made the autoencoder whole


class _Run:
    """One job on its way: its learner, its log and its checkpoints."""

    report: Report | None = None
    """Of the last step of this process."""

    def __init__(
        self, source: TokenSource, job: Job, device: torch.device, monitor: Monitor | None, ranks: Ranks
    ) -> None:
        self.job, self.device, self.out, self.ranks = job, device, Path(job.out), ranks
        self.leads = ranks.everyone.rank == 0
        """Whether this process writes the log and what comes out in the end."""
        job.train.fits(job.config)
        _refuse_division(job, ranks)
        if source.dim != job.config.dim:
            raise InsightError(f"train: expected features of width {job.config.dim}, the source has {source.dim}")
        data = {"dim": source.dim, "n_tokens": source.n_tokens}
        if isinstance(source, SharedSource):
            data[_SHARING] = ranks.tokens.size
        self.recorded = {"sae": job.config.to_dict(), "train": job.train.to_dict(), "data": data, **(job.extra or {})}
        settings = _comparable(self.recorded)
        to_go_on = {**settings, "data": data}  # other shares are other batches
        self.checkpoint = Checkpoint(self.out / "checkpoint", to_go_on, ranks)
        self.finished = _is_finished(self.out, settings)
        if self.finished:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        saved = self.checkpoint.load(device)
        self.learner = Learner.restore(job.config, job.train, *saved, ranks) if saved else None
        self.log = self._open_log(saved[0].log_bytes if saved else 0) if self.leads else None
        self.monitor: Callable[[dict[str, Any]], None] | None = None
        if monitor and self.leads:
            self.monitor = open_monitor(monitor, self.out, self.recorded)
        self.log_every = max(1, job.train.steps // _LOGGED_STEPS)
        self.saved_at = time.monotonic()

    @property
    def step(self) -> int:
        """Steps done."""
        return self.learner.progress.step if self.learner else 0

    def _open_log(self, kept: int) -> BinaryIO:
        path = self.out / "training.jsonl"
        path.touch()
        if (length := path.stat().st_size) < kept:
            expected = f"at least {kept} bytes, found {length}"
            raise InsightError(f"{path}: expected {expected}; remove {self.checkpoint.folder} to start anew")
        log = path.open("rb+")
        log.truncate(kept)
        log.seek(kept)
        return log

    def checked(self, batch: Tensor, n_rows: int, step: int) -> Tensor:
        """A batch on the device, if it is one."""
        expected, found = [n_rows, self.job.config.dim], [*batch.shape]
        if found != expected:
            raise InsightError(f"train: expected a batch {expected} from the source at step {step}, found {found}")
        x = batch.to(torch.float32)
        if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
            bad = f"{int((~torch.isfinite(x)).any(1).sum())} of {len(x)} tokens"
            raise InsightError(f"train: NaN or infinite features in {bad} of the batch at step {step}; leave them out")
        return x.to(self.device, non_blocking=True)

    def take(self, batch: Tensor, step: int) -> None:
        """Learn from this rank's rows of the batch of `step`, if that is the next, and log it."""
        if step != self.step or step == self.job.train.steps:
            return
        with torch.autocast(self.device.type, enabled=False):  # a step says itself what may be rounded
            if self.learner is None:
                self.learner = Learner.start(self.job.config, self.job.train, batch, self.ranks)
            self.report = self.learner.step(batch)
        if self.step % self.log_every == 0 or self.step == self.job.train.steps:
            row = self.report.row()
            if self.log:
                self.log.write((json.dumps(row, allow_nan=False) + "\n").encode())
            if self.monitor:
                self.monitor(row)

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        unsaved = self.report is not None and self.step < self.job.train.steps
        return unsaved and time.monotonic() - self.saved_at >= self.job.train.checkpoint_seconds

    def save(self) -> None:
        """Replace the checkpoint."""
        if self.learner is None or self.report is None:
            return  # nothing was learnt since the last one
        self.report.row()  # weights of a run that diverges are not worth keeping
        if self.log:
            self.log.flush()
            os.fsync(self.log.fileno())
            self.learner.progress.log_bytes = self.log.tell()
        self.checkpoint.save(self.learner.progress, self.learner.tensors())
        self.saved_at = time.monotonic()

    def close(self) -> None:
        """No more steps in this process."""
        if self.log:
            self.log.close()

    def finish(self) -> SparseAutoencoder:
        """The autoencoder, written to its folder."""
        if not self.finished:
            assert self.learner is not None
            sae = self.learner.autoencoder()
            with self.ranks.everyone.together():
                if self.leads:
                    sae.save_pretrained(self.out, self.recorded)
        if self.leads:
            self.checkpoint.remove()
        return SparseAutoencoder.from_pretrained(self.out)


def _refuse_division(job: Job, ranks: Ranks) -> None:
    """`InsightError` where the work of `job` cannot be divided among so many processes."""
    part, size = job.train.batch_size // job.train.accumulate, ranks.tokens.size
    if part < size:
        raise InsightError(f"train: expected at least one token a process in each batch, found {part} for {size}")
    if ranks.concepts.size == 1:
        return
    if job.config.n_concepts < ranks.concepts.size:
        found = f"{job.config.n_concepts} for {ranks.concepts.size}"
        raise InsightError(f"train: expected at least one concept a process, found {found}")
    expected: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "selection": (job.config.selection, ("batch_topk", "topk")),
        "level_k": (job.config.level_k, ((),)),
        "dictionary": (job.train.dictionary, ("free",)),
        "revival": (job.train.revival, ("auxk", "none")),
        "nested_k": (job.train.nested_k, ((),)),
    }
    for name, (found, known) in expected.items():
        if found not in known:
            raise InsightError(f'train: parallel "concepts" knows {name} of {known}, found {found}; use "data"')


def _comparable(recorded: dict[str, Any]) -> dict[str, Any]:
    """What must agree for a result to be what is asked for, as JSON would give it back.

    How often to save need not, nor how many processes share the source.
    """
    settings = json.loads(json.dumps(recorded))
    settings["train"].pop("checkpoint_seconds", None)
    settings.get("data", {}).pop(_SHARING, None)
    return settings


def _is_finished(out: Path, settings: dict[str, Any]) -> bool:
    if not (out / "sae.safetensors").exists() or not (out / "config.json").exists():
        return False
    found = read_json(out / "config.json")
    if "train" not in found:
        return False
    refuse_other_settings(out / "config.json", _comparable(found), settings)
    return True


def _device(device: torch.device | str | None) -> torch.device:
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
