"""Feature caches on disk: written once from images and a backbone, read shuffled, in order, or by image.

A cache is a folder: `manifest.json` (what it is, checksums; written last), `index.parquet` (one line per image),
`skipped.parquet` (images that gave no features) and `shard-*.safetensors` (patches, image vectors). Each can be read
without this package: docs/cache-format.md says how.
"""

from .derived.convert import convert_cache
from .derived.merge import merge_caches
from .derived.sample import sample_cache
from .reading.reader import FeatureCache
from .streaming.stream import StreamedFeatures
from .writing.writer import write_cache, write_caches

__all__ = [
    "FeatureCache",
    "StreamedFeatures",
    "convert_cache",
    "merge_caches",
    "sample_cache",
    "write_cache",
    "write_caches",
]
