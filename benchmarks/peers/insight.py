"""Ours, by the call that every user makes: `sae.train` on a token source, checkpoints off.

Concepts are held dead in a way that any user could: a run is stopped after its first step, their encoder rows and
silence counters are set in the checkpoint, and the run goes on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.peers.yardstick import FRACTIONS, LONG_AGO, QUIET, Clock, Dictionary, Task, main
from sae import SaeConfig, TrainConfig
from sae import train as train_sae

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "matryoshka": {"selection": "batch_topk", "fractions": FRACTIONS},
    "batch_topk": {"selection": "batch_topk", "fractions": (1.0,)},
    "topk": {"selection": "topk", "fractions": (1.0,)},
}
NEVER = 1e9
"""Seconds between checkpoints."""


class Stop(Exception):
    """Ends a run from within its source."""


class Clocked:
    """The clock's batches as a token source."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.n_tokens, self.dim = clock.features.shape

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        yield from self.clock


class OneBatch(Clocked):
    """The same source, which fails when a second batch is asked for; nothing is clocked."""

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        for step in count():
            if step:
                raise Stop
            start = self.clock.row(step)
            yield self.clock.features[start : start + batch_size]


def train(task: Task, clock: Clock) -> Dictionary:
    """Our own loop, at its defaults where the task says nothing."""
    config = SaeConfig(clock.features.shape[1], task.m, task.k, **ARCHITECTURES[task.arch])
    own: dict[str, Any] = {} if task.resolved_lr is None else {"lr": task.resolved_lr}
    own |= {"warmup_steps": task.lr_warmup or 0, "decay_steps": task.lr_decay or 0}
    dead_after = task.dead_after_tokens or LONG_AGO // 10
    steps = task.n_batches + (1 if task.dead else 0)
    run = TrainConfig(steps, task.batch, seed=task.seed, checkpoint_seconds=NEVER, dead_after_tokens=dead_after, **own)
    with tempfile.TemporaryDirectory() as folder:
        if task.dead:
            try:
                train_sae(OneBatch(clock), config, replace(run, checkpoint_seconds=0), folder, progress=False)
            except Stop:
                _hold_dead(Path(folder), task)
        sae = train_sae(Clocked(clock), config, run, folder, progress=False)
        last = (Path(folder) / "training.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        clock.notes["dead_share"] = json.loads(last)["dead"]
    weights = (sae.encoder, sae.decoder, sae.encoder_bias, sae.decoder_bias)
    return Dictionary(*(weight.detach() for weight in weights))


def _hold_dead(folder: Path, task: Task) -> None:
    """In the run's checkpoint, make the task's dead concepts quiet and long silent."""
    (state,) = (folder / "checkpoint").glob("state-*.safetensors")
    tensors = load_file(state)
    tensors["encoder"][task.dead_concepts] *= QUIET
    tensors["silent_tokens"][task.dead_concepts] = LONG_AGO
    save_file(tensors, state)


if __name__ == "__main__":
    main(list(ARCHITECTURES), train)
