"""The training loop: a token source and two configs in, a folder with a trained autoencoder out, safe against any stop.

Everything is float32. The one dense product of a step follows `torch.set_float32_matmul_precision`: at "highest"
(torch's default) it is plain float32; "high" or "medium" allow TF32 or bfloat16 passes on a GPU, and on x86 processors
another library whose float32 product is often nearly twice as fast at the same accuracy (with AMX it may round to
bfloat16). Compare runs and resume runs under one setting.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .autoencoder import SparseAutoencoder
from .auxiliary import add_auxiliary
from .checkpoint import Checkpoint, Progress, refuse_other_settings
from .config import SaeConfig, TrainConfig
from .errors import InsightError
from .files import read_json
from .initial import initial_weights
from .interruption import Interruption
from .nested import by_prefix
from .objective import NestedLoss, gradients
from .optimiser import Optimiser
from .preactivations import Preactivations
from .selection import BatchTopK
from .sources import TokenSource
from .weights import Weights

_LOGGED_STEPS = 1000


def train(
    source: TokenSource,
    config: SaeConfig,
    train: TrainConfig,
    out: Path | str,
    *,
    extra: dict[str, Any] | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> SparseAutoencoder:
    """Train on `source` into folder `out` and return the autoencoder (on the CPU, for raw features).

    Writes `out` as `SparseAutoencoder.save_pretrained` does (config.json also holds "train", "data" and the keys of
    `extra`) and `out/training.jsonl` (step, loss, fvu per level, l0, dead share; at most ~2,000 lines). Checkpoints go
    to `out/checkpoint/` by the clock and on SIGINT and SIGTERM. The same call goes on after any stop, kill -9 included,
    and ends with the same bytes as a run that was never stopped (on the CPU; CUDA's sparse products may add in another
    order each time); on a finished folder it returns at once. `device` defaults to CUDA where there is one.

    `InsightError`: other settings than those the folder was started with; features of another width, NaN or infinite;
    a loss that diverges.
    """
    out = Path(out)
    if source.dim != config.dim:
        raise InsightError(f"train: expected features of width {config.dim}, the source has {source.dim}")
    data = {"dim": source.dim, "n_tokens": source.n_tokens}
    recorded = {"sae": config.to_dict(), "train": train.to_dict(), "data": data, **(extra or {})}
    settings = _comparable(recorded)
    if _is_finished(out, settings):
        Checkpoint(out / "checkpoint", settings).remove()
        return SparseAutoencoder.from_pretrained(out)

    out.mkdir(parents=True, exist_ok=True)
    run = _Run(source, config, train, Checkpoint(out / "checkpoint", settings), _device(device))
    run.to_the_end(out / "training.jsonl", progress)
    sae = run.autoencoder()
    sae.save_pretrained(out, recorded)
    run.checkpoint.remove()
    return sae


class _Run:
    """A training run: its weights and counters, and one method for each thing that happens to them."""

    def __init__(
        self, source: TokenSource, config: SaeConfig, train: TrainConfig, checkpoint: Checkpoint, device: torch.device
    ) -> None:
        self.config, self.train, self.checkpoint, self.device = config, train, checkpoint, device
        self.select, self.nested = BatchTopK(config.k), NestedLoss([1 / len(config.levels) ** 2] * len(config.levels))
        # Rescaled features make the nested loss d times that of features of unit mean squared norm; the auxiliary loss
        # is a ratio and has to keep step, or Adam hardly moves concepts whose last gradients were of the nested loss.
        self.aux_coefficient = train.aux_coefficient * (config.dim if train.rescale else 1)
        saved = checkpoint.load(device)
        if saved is None:
            batches = source.batches(train.batch_size, seed=train.seed)
            self._start(first := self._checked(next(batches), 0))
            self.batches: Iterator[Tensor] = chain([first], batches)
        else:
            self._restore(*saved)
            self.batches = source.batches(train.batch_size, seed=train.seed, start_step=self.progress.step)
        self.gradients = Weights(*(torch.empty_like(weight) for weight in self.optimiser.weights))

    def _start(self, first: Tensor) -> None:
        mean_square = float(first.double().square().mean())
        scale = mean_square**0.5 if self.train.rescale and mean_square > 0 else 1.0
        self.progress = Progress(0, scale, 0.0, 0.0, None, 0)
        self.optimiser = Optimiser(initial_weights(self.config, first / scale, self.train.seed))
        self.silent_tokens = torch.zeros(self.config.n_concepts, dtype=torch.int64, device=self.device)

    def _restore(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        self.progress = progress
        self.silent_tokens = tensors.pop("silent_tokens")
        self.optimiser = Optimiser.from_tensors(tensors)
        self.select.cut = progress.selection_cut

    def _save(self, log_bytes: int) -> None:
        self.progress.selection_cut, self.progress.log_bytes = self.select.cut, log_bytes
        self.checkpoint.save(self.progress, {**self.optimiser.tensors(), "silent_tokens": self.silent_tokens})

    def to_the_end(self, log_path: Path, show_progress: bool) -> None:
        """Run the remaining steps, logging, and saving by the clock and when interrupted."""
        steps, batch_size = self.train.steps, self.train.batch_size
        log_every, saved_at = max(1, steps // _LOGGED_STEPS), time.monotonic()
        log_path.touch()
        if (length := log_path.stat().st_size) < self.progress.log_bytes:
            expected = f"at least {self.progress.log_bytes} bytes, found {length}"
            raise InsightError(f"{log_path}: expected {expected}; remove {self.checkpoint.folder} to start anew")
        with (
            log_path.open("rb+") as log,
            Interruption() as interruption,
            tqdm(
                total=steps * batch_size,
                initial=self.progress.step * batch_size,
                desc="training",
                unit="tok",
                unit_scale=True,
                disable=not show_progress,
            ) as bar,
        ):
            log.truncate(self.progress.log_bytes)
            log.seek(self.progress.log_bytes)
            while self.progress.step < steps:
                row = self._step(next(self.batches))
                if self.progress.step % log_every == 0 or self.progress.step == steps:
                    log.write((json.dumps(row, allow_nan=False) + "\n").encode())
                bar.update(batch_size)
                bar.set_postfix(step=self.progress.step, loss=row["loss"], fvu=row["fvu"][-1], refresh=False)
                overdue = time.monotonic() - saved_at >= self.train.checkpoint_seconds
                if interruption.requested or (overdue and self.progress.step < steps):
                    log.flush()
                    os.fsync(log.fileno())
                    self._save(log.tell())
                    saved_at = time.monotonic()
                if interruption.requested:
                    break

    def _step(self, batch: Tensor) -> dict[str, Any]:
        """One step; its line of the log."""
        step = self.progress.step
        weights = self.optimiser.weights
        centred = (self._checked(batch, step) / self.progress.scale).sub_(weights.decoder_bias)
        codes = self.select(Preactivations(weights, centred))
        self.silent_tokens += len(centred)
        self.silent_tokens[codes.concepts.long()] = 0
        pairs = by_prefix(codes, self.config.levels)
        result = self.nested(weights, centred, pairs)
        found = gradients(weights, centred, pairs, result, result.slopes, self.gradients)
        dead = (self.silent_tokens >= self.train.resolved_dead_after_tokens).nonzero().squeeze(1)
        loss = result.loss
        if len(dead):
            loss = loss + add_auxiliary(weights, centred, result.residual(), dead, self.aux_coefficient, found)
        if not bool(torch.isfinite(loss)):
            raise InsightError(f"train: the loss is not finite at step {step}; lower lr (now {self.train.lr})")
        self.optimiser.step(found, self.train.step_size(step))
        if step >= self.train.resolved_threshold_start_step:
            self._average_threshold(float(codes.activations.min()) if codes.nnz else 0.0)
        self.progress.step += 1
        return {
            "step": step,
            "loss": float(loss),
            "fvu": [share if share == share else None for share in result.fvu.tolist()],
            "l0": codes.nnz / len(centred),
            "dead": len(dead) / self.config.n_concepts,
        }

    def _average_threshold(self, smallest: float) -> None:
        """Exponential average without the bias of a first value: a decayed sum over a decayed count."""
        beta = self.train.resolved_threshold_beta
        self.progress.threshold_sum = beta * self.progress.threshold_sum + smallest
        self.progress.threshold_count = beta * self.progress.threshold_count + 1

    def _checked(self, batch: Tensor, step: int) -> Tensor:
        if batch.dim() != 2 or batch.shape[1] != self.config.dim or not len(batch):
            raise InsightError(
                f"train: expected a batch [tokens, {self.config.dim}] at step {step}, found {[*batch.shape]}"
            )
        x = batch.to(self.device, torch.float32)
        if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
            bad = f"{int((~torch.isfinite(x)).any(1).sum())} of {len(centred)} tokens"
            raise InsightError(f"train: NaN or infinite features in {bad} of the batch at step {step}; leave them out")
        return x

    def autoencoder(self) -> SparseAutoencoder:
        """The autoencoder for raw features: u(x) = s u'(x / s), so biases and threshold are multiplied by the scale."""
        scale, weights = self.progress.scale, self.optimiser.weights
        sae = SparseAutoencoder(self.config).to(self.device)
        folded = Weights(weights.encoder, weights.decoder, weights.encoder_bias * scale, weights.decoder_bias * scale)
        for parameter, value in zip(sae.weights, folded):
            parameter.copy_(value)
        sae.threshold.fill_(scale * self.progress.threshold_sum / self.progress.threshold_count)
        return sae.cpu()


def _comparable(recorded: dict[str, Any]) -> dict[str, Any]:
    """What must agree for a run to go on, as JSON would give it back; how often to save need not."""
    settings = json.loads(json.dumps(recorded))
    settings["train"].pop("checkpoint_seconds", None)
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
