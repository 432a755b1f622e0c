"""Feature caches on disk: written once from photos and a backbone, read shuffled, in order, or by image.

A cache is a folder: `manifest.json` (what it is, checksums; written last), `index.parquet` (one line per image) and
`shard-NNNNN.safetensors` (patches, image vectors). Each can be read without this package.
"""

from .reader import FeatureCache
from .writer import write_cache, write_caches

__all__ = ["FeatureCache", "write_cache", "write_caches"]
