"""A model in words."""

from __future__ import annotations

from typing import Any


def describe_model(config: dict[str, Any]) -> dict[str, str]:
    """What a model is, from its `config.json`, as lines for a person."""
    backbone, sae, settings = config.get("backbone"), config["sae"], config.get("train", {})
    facts = {}
    if backbone:
        facts["backbone"] = f"{backbone['name']}: {backbone['description']}"
    if "images" in config and settings:
        schedule = f"{settings['steps']:,} steps of {settings['batch_size']:,} patches"
        facts["trained on"] = f"{config['images']:,} photos, {schedule}"
    facts["dictionary"] = f"{sae['n_concepts']:,} concepts on features of {sae['dim']} values"
    if quality := config.get("quality"):
        per_level = ", ".join("–" if share is None else f"{share:.3f}" for share in quality["fvu"])
        facts["left unexplained"] = f"{per_level} of the variance of its training patches, level by level"
        facts["concepts on a patch"] = f"{quality['l0']:.1f} (trained for {sae['k']})"
        facts["never active"] = f"{quality['dead']:.1%} of the concepts"
    if relations := config.get("relations"):
        share, lift = relations["threshold"], relations["min_lift"]
        facts["parents"] = f"active on over {share:.0%} of the child, {lift} times as often as on concepts like it"
    if names := config.get("names"):
        facts["names"] = f"nearest of {names['phrases']:,} phrases ({names['vocabulary']}, mode {names['mode']})"
    return facts
