"""SAELens: the datasets that its `CacheActivationsRunner` writes, and its `ActivationsStore` on them.

The runner asks for a language model before it writes anything, so its own methods are called on features: one dataset
for each file, then its own joining of them. The store's mixing buffer holds as many images as the job's memory does; it
fills up in the order of the files.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from itertools import islice
from typing import Any

import datasets
import torch
from sae_lens.cache_activations_runner import CacheActivationsRunner
from sae_lens.training.activations_store import ActivationsStore
from torch import Tensor

from benchmarks.loaders.job import SHARD_IMAGES, Job, Loader, main

HOOK = "features"
AT_ONCE = 32
"""Images that its store reads at a time: its own default for prompts."""


def write(job: Job, features: Tensor) -> None:
    parts = job.path / ".tmp_shards"
    runner: Any = object.__new__(CacheActivationsRunner)
    runner.context_size = job.tokens
    runner.features = datasets.Features({HOOK: datasets.Array2D(shape=(job.tokens, job.dim), dtype="float32")})
    for number, part in enumerate(features.split(SHARD_IMAGES)):
        runner.cfg = types.SimpleNamespace(hook_name=HOOK, d_in=job.dim, n_seq_in_buffer=len(part))
        shard = runner._create_shard((part.flatten(0, 1), None))
        shard.save_to_disk(str(parts / f"shard_{number:05d}"), num_shards=1)
    runner._consolidate_shards(parts, job.path, copy_files=False)


def read(job: Job) -> Iterator[Tensor]:
    torch.manual_seed(job.seed)
    store = ActivationsStore(
        model=None,  # type: ignore[arg-type]
        dataset=None,
        streaming=False,
        hook_name=HOOK,
        hook_head_index=None,
        context_size=job.tokens,
        d_in=job.dim,
        n_batches_in_buffer=max(-(-job.batch // job.tokens), job.memory // (job.tokens * job.dim * 4)),
        total_training_tokens=job.n_tokens,
        store_batch_size_prompts=min(AT_ONCE, job.images),
        train_batch_size_tokens=job.batch,
        prepend_bos=False,
        normalize_activations="none",
        device=torch.device("cpu"),
        dtype="float32",
        cached_activations_path=str(job.path),
    )
    yield from islice(store, job.epoch)


if __name__ == "__main__":
    datasets.disable_progress_bars()
    main({"sae_lens": Loader(write, read)})
