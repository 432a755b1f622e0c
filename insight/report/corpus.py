"""How well a dictionary explains the patches of a cache. In: a feature cache of its backbone. Out: a `Quality`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from torch import Tensor

from sae import SparseAutoencoder
from sae.metrics import evaluate

from ..cache import FeatureCache
from .dictionary import quality_of
from .values import Quality

MOST_PATCHES, BATCH = 65_536, 4096
"""Patches that are measured on: of a larger cache a random part, the same every time."""


def cache_quality(sae: SparseAutoencoder, cache: FeatureCache) -> Quality:
    """Measured on all patches of a small cache, or on 65,536 of a larger one."""
    patches = min(cache.n_tokens, MOST_PATCHES)
    found = evaluate(sae, _batches(cache))
    return quality_of(f"patches of {cache.folder.name}", patches, found)


def _batches(cache: FeatureCache) -> Iterator[Tensor]:
    if cache.n_tokens <= MOST_PATCHES:
        return (tokens for _, tokens in cache.scan(BATCH))
    return islice(cache.batches(BATCH, seed=0), MOST_PATCHES // BATCH)
