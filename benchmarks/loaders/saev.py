"""saev (its repository): its `ShardWriter`, and its shuffled `DataLoader` with its own number of threads.

Its reservoir holds as many whole batches as the job's memory does. Features are float32: its format has no other.
"""

from __future__ import annotations

import logging
import multiprocessing.queues
import types
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

if not hasattr(multiprocessing.queues.Queue, "__class_getitem__"):  # it is written for Python 3.12
    multiprocessing.queues.Queue.__class_getitem__ = classmethod(types.GenericAlias)  # type: ignore[attr-defined]

from saev.data.shards import Metadata, ShardWriter
from saev.data.shuffled import Config, DataLoader

from benchmarks.loaders.job import SHARD_IMAGES, Job, Loader, main

AT_ONCE = 64
"""Images that its writer is given at a time."""


def write(job: Job, features: Tensor) -> None:
    root = job.path / "saev" / "shards"
    root.mkdir(parents=True)
    metadata = Metadata(
        family="dinov2",
        ckpt="none",
        layers=(0,),
        content_tokens_per_example=job.tokens,
        cls_token=False,
        d_model=job.dim,
        n_examples=job.images,
        max_tokens_per_shard=SHARD_IMAGES * job.tokens,
        data="",
        dataset=Path("none"),
    )
    metadata.dump(root)
    with ShardWriter(root, metadata) as writer:
        for first in range(0, job.images, AT_ONCE):
            writer.write_batch(features[first : first + AT_ONCE].unsqueeze(1), first)


def read(job: Job) -> Iterator[Tensor]:
    logging.disable(logging.WARNING)
    (folder,) = (job.path / "saev" / "shards").iterdir()
    batches = max(1, job.memory // (job.batch * job.dim * 4))
    config = Config(shards=folder, layer=0, batch_size=job.batch, buffer_size=batches, seed=job.seed, drop_last=True)
    loader = DataLoader(config)
    try:
        for batch in loader:
            yield batch["act"]
    finally:
        loader.shutdown()


if __name__ == "__main__":
    main({"saev": Loader(write, read)})
