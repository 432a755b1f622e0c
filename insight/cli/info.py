"""`insight info`: what a cache or a model is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..defaults import MODEL

_SHOWN = 8


Place = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="[PATH]", help="Folder of a cache or a model, or `small`, which comes with the package."),
]


def info(path: Place = MODEL, /) -> None:
    """Say what the cache or model at PATH is: backbone, sizes, training, what could not be read.

    Example: insight info model
    """
    from sae.errors import InsightError
    from sae.files import read_json

    from ..cache import FeatureCache
    from ..cache.derived.describe import describe_cache
    from ..data.place import FOLDER, found_at
    from ..models import is_model, model_folder
    from ..pipeline import describe_model

    if (Path(path) / "manifest.json").exists():
        print_facts(facts_of_cache(describe_cache(FeatureCache.open(path))))
    elif is_model(path):
        folder = model_folder(path)
        print_facts({"model": str(folder), **describe_model(read_json(folder / "config.json"))})
    else:
        found = "a folder with neither" if (found := found_at(path)) == FOLDER else found
        raise InsightError(f"{path}: expected a cache (manifest.json) or a model (config.json), found {found}")


def facts_of_cache(cache: dict[str, Any]) -> dict[str, str]:
    """What `describe_cache` says, as lines for a person."""
    backbone = cache["backbone"]
    height, width = backbone["grid"]
    every = cache["tokens_per_image"] == height * width
    kept = "all" if every else f"{cache['tokens_per_image']:,}"
    facts = {
        "feature cache": cache["cache"],
        "backbone": f"{backbone['name']} ({backbone['fingerprint'][:12]}…): {backbone['description']}",
        "images": f"{cache['images']:,} in {cache['shards']:,} shards",
        "patches": f"{cache['tokens']:,}, {kept} of the {height} × {width} of each image, {cache['dim']} values each",
        "stored as": f"{cache['dtype']}, {cache['bytes_per_token']:,.1f} bytes a patch, {cache['bytes']:,} in all",
        "labels": _counted(cache["labels"], cache["unlabelled"]),
        "splits": _counted(cache["splits"], cache["without_split"]),
        "classes": ", ".join(cache["classes"]) or "none: images have no masks",
        "from": "; ".join(f"{source['kind']} {source['place']}" for source in cache["sources"]),
    }
    derived = cache["settings"].get("derived")
    if isinstance(derived, list):
        steps = [str(step.get("command")) for step in derived if isinstance(step, dict)]
        facts["made by"] = f"insight cache {', then '.join(steps)}"
    facts["without features"] = f"{cache['skipped']:,}"
    shown = {f"  {entry['id']}": entry["reason"] for entry in cache["first_skipped"]}
    if cache["skipped"] > len(shown):
        shown["  …"] = f"{cache['skipped'] - len(shown):,} others, in {cache['skipped_table']}"
    return facts | shown


def print_facts(facts: Mapping[str, str]) -> None:
    """A line for each, the names below each other."""
    width = max(len(name) for name in facts)
    for name, text in facts.items():
        print(f"{name:<{width}}  {text}")


def _counted(counts: dict[str, int], without: int) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:_SHOWN]]
    if len(counts) > _SHOWN:
        shown.append(f"{len(counts) - _SHOWN:,} others")
    return ", ".join([*shown, *([f"none {without:,}"] if without else [])])
