"""What a cache is, as lines for a person, from its manifest alone: of ten million images the index is not read."""

from __future__ import annotations

from pathlib import Path

from ..reading.reader import FeatureCache


def cache_facts(cache: FeatureCache) -> dict[str, str]:
    """Backbone, images, patches, bytes, classes, sources, and how many images gave no features."""
    manifest = cache.manifest
    height, width = cache.grid
    size = sum(stored.bytes for stored in manifest.shards)
    facts = {
        "folder": cache.folder.name,
        "backbone": cache.backbone,
        "images": f"{cache.n_images:,} in {len(manifest.shards):,} shards",
        "patches": f"{cache.n_tokens:,}, {cache.tokens_per_image:,} of {height} × {width} an image",
        "values": f"{cache.dim:,} a patch, as {manifest.dtype}, {size / 2**20:,.1f} MiB in all",
        "classes": ", ".join(cache.classes) or "none: images have no masks",
        "from": "; ".join(f"{source['kind']} {Path(source['place']).name}" for source in manifest.sources),
    }
    if manifest.skipped.rows:
        facts["without features"] = f"{manifest.skipped.rows:,} images"
    return facts
