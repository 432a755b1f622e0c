"""What a cache is, in figures: what `insight cache info` says, also as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..format.index import stream_index, stream_skipped
from ..reading.reader import FeatureCache

_SHOWN = 5


def describe_cache(cache: FeatureCache) -> dict[str, Any]:
    """Backbone, counts, bytes, how many images have which label and split, classes, and the first skipped images.

    Plain JSON. `bytes` is of all files of the cache, `bytes_per_token` of the shards alone; labels and splits are in
    the order of their counts.
    """
    manifest = cache.manifest
    labels: Counter[str | None] = Counter()
    splits: Counter[str | None] = Counter()
    for lines in stream_index(cache.folder, manifest):
        labels.update(lines["label"].to_pylist())
        splits.update(lines["split"].to_pylist())
    first = next(stream_skipped(cache.folder, manifest), None)
    in_shards = sum(stored.bytes for stored in manifest.shards)
    return {
        "cache": str(cache.folder),
        "backbone": manifest.backbone,
        "dtype": manifest.dtype,
        "images": cache.n_images,
        "tokens": cache.n_tokens,
        "tokens_per_image": cache.tokens_per_image,
        "dim": cache.dim,
        "shards": len(manifest.shards),
        "bytes": in_shards + manifest.index.bytes + manifest.skipped.bytes,
        "bytes_per_token": in_shards / cache.n_tokens,
        "unlabelled": labels.pop(None, 0),
        "labels": dict(labels.most_common()),
        "without_split": splits.pop(None, 0),
        "splits": dict(splits.most_common()),
        "classes": list(cache.classes),
        "skipped": manifest.skipped.rows,
        "skipped_table": manifest.skipped.file,
        "first_skipped": first.slice(0, _SHOWN).to_pylist() if first else [],
        "sources": list(manifest.sources),
        "settings": manifest.settings,
    }
