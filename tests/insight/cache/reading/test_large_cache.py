"""A cache of 100 GB is read in less than 1 GB of memory. Its shards are one file on disk, 1,500 times.

That is without what torch takes when it is imported: 0.2 GB where it is built for processors alone, 0.7 GB with CUDA.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from insight.cache.format.manifest import Manifest

from ..made import make_cache

SHARDS = 1500
TRAIN = """
import sys
from pathlib import Path

def most():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

import torch

before = most()
from insight.cache import FeatureCache

cache = FeatureCache.open(sys.argv[1])
assert cache.n_tokens * cache.dim * 2 > 100e9
batches = cache.batches(4096, seed=0, start_step=100_000)
for _ in range(80):  # beyond the first window: one is in use, one is read, and a third is begun
    assert next(batches).shape == (4096, 512)
print(before, most())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory was used")
def test_a_cache_of_100_gb_is_read_in_less_than_1_gb_of_memory(tmp_path: Path) -> None:
    made = make_cache(tmp_path / "cache", torch.rand(256, 256, 512), [256], dtype="float16")
    manifest = Manifest.read(made.folder)
    (shard,) = manifest.shards
    shards = [shard]
    for number in range(1, SHARDS):
        shards.append(replace(shard, file=f"shard-{number:05d}.safetensors"))
        try:
            os.link(made.folder / shard.file, made.folder / shards[-1].file)
        except OSError as error:
            pytest.skip(f"this file system has no hard links: {error}")
    index = replace(manifest.index, rows=SHARDS * 256)  # is not read for training
    replace(manifest, shards=tuple(shards), index=index).write(made.folder)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(made.folder)], capture_output=True, text=True, check=True, timeout=300
    )
    of_torch, most = map(int, done.stdout.split())
    print(f"{most >> 10} MiB, {of_torch >> 10} of them torch's")
    assert (most - of_torch) * 1024 < 7e8  # half a gibibyte of it are the windows
