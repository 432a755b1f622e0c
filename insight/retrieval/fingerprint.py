"""What an index was made of: the dictionary by its weights, the cache by its manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sae import SparseAutoencoder

from ..backbones.base import fingerprint_of, hash_tensors
from ..cache import FeatureCache
from ..cache.format.manifest import FILE


def of_dictionary(sae: SparseAutoencoder) -> str:
    """SHA-256 (hex) over the settings and every weight."""
    return fingerprint_of([json.dumps(sae.config.to_dict(), sort_keys=True), hash_tensors(sae.state_dict())])


def of_cache(cache: FeatureCache) -> str:
    """SHA-256 (hex) of `manifest.json`, which has the checksums of all other files."""
    return hashlib.sha256((cache.folder / FILE).read_bytes()).hexdigest()


def folder_beside(sae: SparseAutoencoder, cache: FeatureCache) -> Path:
    """Where an index lies by default: beside the cache, another folder for another dictionary or state of the cache."""
    both = fingerprint_of([of_dictionary(sae), of_cache(cache)])
    folder = cache.folder.resolve()
    return folder.with_name(f"{folder.name}-index-{both[:12]}")
