"""`insight info`: what a cache or a model is."""

from pathlib import Path
from typing import Annotated

import tyro


def info(path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")], /) -> None:
    """Say what the cache or model at PATH is: backbone, sizes, training, what could not be read."""
    from sae.errors import InsightError
    from sae.files import read_json

    from ..cache import FeatureCache
    from ..pipeline import describe_model

    if (path / "manifest.json").exists():
        cache = FeatureCache.open(path)
        facts = {
            "feature cache": str(path),
            "backbone": f"{cache.backbone} ({cache.fingerprint[:12]}…)",
            "photos": f"{cache.n_images:,}",
            "patches": f"{cache.n_tokens:,} on a grid of {cache.grid[0]} × {cache.grid[1]}, {cache.dim} values each",
            "stored as": cache.manifest.dtype,
        }
        facts |= {f"could not read {entry['id']}": entry["reason"] for entry in cache.skipped.to_pylist()}
    elif (path / "config.json").exists():
        facts = {"model": str(path), **describe_model(read_json(path / "config.json"))}
    else:
        raise InsightError(f"{path}: expected a cache (manifest.json) or a model (config.json), found neither")
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        print(f"{key:<{width}}  {value}")
