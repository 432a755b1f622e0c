"""saev (its repository): its `train`, on features in memory in place of its loader; logging off.

Its Matryoshka objective draws new prefixes every step; five here. One prefix, the whole dictionary, is its plain form.
"""

from __future__ import annotations

import multiprocessing.queues
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

if not hasattr(multiprocessing.queues.Queue, "__class_getitem__"):  # it is written for Python 3.12
    multiprocessing.queues.Queue.__class_getitem__ = classmethod(types.GenericAlias)  # type: ignore[attr-defined]

import saev.data
import saev.framework.train as framework
from saev.nn import SparseAutoencoderConfig
from saev.nn.modeling import BatchTopK, TopK
from saev.nn.objectives import Matryoshka

from benchmarks.peers.yardstick import FRACTIONS, LONG_AGO, QUIET, Clock, Dictionary, Task, main

ARCHITECTURES = {"matryoshka": BatchTopK, "batch_topk": BatchTopK, "topk": TopK}


@dataclass(frozen=True)
class Metadata:
    """What its logging asks of a loader."""

    n_examples: int
    content_tokens_per_example: int = 1


class Loader:
    """Its loader's interface: the features, from which it initialises the dictionary, then the clock's batches."""

    drop_last = True

    def __init__(self, clock: Clock) -> None:
        self.clock, self.batch_size = clock, clock.task.batch
        self.n_samples = len(clock.features)
        self.metadata = Metadata(self.n_samples)
        self.clocked = False

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        batches = self.clock if self.clocked else self.clock.features.split(self.batch_size)
        for batch in batches:
            index = torch.arange(len(batch))
            yield {"act": batch, "example_idx": index, "token_idx": torch.zeros_like(index)}


def train(task: Task, clock: Clock) -> Dictionary:
    """Its own loop; the maker of its autoencoders is wrapped to know when training starts and to hold concepts dead."""
    make_saes, loader = framework.make_saes, Loader(clock)

    def then_train(configs: Any, limited: Any) -> Any:
        saes, objectives, groups = make_saes(configs, limited)
        loader.clocked = True
        saes[0].W_enc.data[:, task.dead_concepts] *= QUIET
        silent = torch.zeros(task.m, dtype=torch.int64)
        silent[task.dead_concepts] = LONG_AGO
        objectives[0].toks_since_active = silent
        return saes, objectives, groups

    own: dict[str, Any] = {} if task.resolved_lr is None else {"lr": task.resolved_lr}
    if task.lr_warmup is not None:
        own["n_lr_warmup"] = task.lr_warmup
    dead_after = {} if task.dead_after_tokens is None else {"dead_threshold_tokens": task.dead_after_tokens}
    n_prefixes = len(FRACTIONS) if task.arch == "matryoshka" else 1
    config = framework.Config(
        n_train=task.n_tokens,
        sae=SparseAutoencoderConfig(
            d_model=clock.features.shape[1], d_sae=task.m, activation=ARCHITECTURES[task.arch](top_k=task.k)
        ),
        objective=Matryoshka(n_prefixes=n_prefixes, **dead_after),
        track=False,
        device="cpu",
        seed=task.seed,
        **own,
    )
    framework.make_saes = then_train
    saev.data.ShuffledDataLoader = lambda _: loader
    try:
        (sae,), (objective,), *_ = framework.train([config])
    finally:
        framework.make_saes = make_saes
    dead = objective.toks_since_active >= objective.cfg.dead_threshold_tokens
    clock.notes["dead_share"] = float(dead.float().mean())
    sae.normalize_w_dec()
    encoder = sae.W_enc.data.t()
    return Dictionary(encoder, sae.W_dec.data, sae.b_enc.data + encoder @ sae.b_dec.data, sae.b_dec.data)


if __name__ == "__main__":
    main(list(ARCHITECTURES), train)
