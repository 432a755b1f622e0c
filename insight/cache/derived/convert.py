"""A cache in another dtype: the same images, patches and everything about them, stored anew."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from ..format.dtypes import check_dtype, pack, unpack
from ..format.index import stream_skipped
from ..reading.reader import FeatureCache
from .derive import derive, origin, seed_of
from .rewrite import rewritten


def convert_cache(cache: Path | str, out: Path | str, dtype: str) -> FeatureCache:
    """Store the patches of a cache as float32, bfloat16, float16 or int8 in a new cache in the folder `out`.

    Every block is checked as it is read; the same call goes on after a kill. `InsightError` when the cache has that
    dtype already, is damaged, or holds a number too large for float16.
    """
    old = FeatureCache.open(cache)
    if check_dtype(dtype) == old.manifest.dtype:
        raise InsightError(f"{cache}: expected a cache of another dtype, found {dtype}, which it shall become")
    settings = origin([old], {"command": "convert", "dtype": dtype}, seed_of(old))
    like = replace(old.manifest, dtype=dtype, settings=settings)

    def change(tensors: dict[str, Tensor], ids: list[str]) -> dict[str, Tensor]:
        vectors = torch.empty(tensors["patches"].shape)
        unpack(tensors["patches"], tensors.pop("scales", None), vectors)
        stored, scales = pack(vectors, dtype)
        return tensors | {"patches": stored} | ({} if scales is None else {"scales": scales})

    shards = partial(rewritten, old, np.arange(old.n_images), like.form, change)
    return derive(Path(out), like, shards, stream_skipped(old.folder, old.manifest))
