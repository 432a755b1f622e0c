"""Time of M2IB beside the whole model at every step, on a tower of open_clip with random weights: rows."""

from __future__ import annotations

import time

import torch

import insight.backbones
from benchmarks.maps.settings import SEED
from benchmarks.maps.whole_model import seconds_of_whole
from benchmarks.record import mean_interval
from insight.attribution.m2ib import M2IB

TOWER = "openclip:ViT-B-32/"
TEXTS = ["a photo of a dog"]
LAYER = 9


def speed_rows(rounds: int, tower: str = TOWER, steps: int = 10, samples: int = 10) -> list[dict]:
    """Ratios of seconds, taken in turns: one photo and its texts, by the whole model over ours."""
    backbone = insight.backbones.load(tower)
    layer = LAYER * backbone.depth // 12
    image = torch.rand(3, backbone.image_size, backbone.image_size, generator=torch.Generator().manual_seed(SEED))
    ours = M2IB(layer=layer, steps=steps, samples=samples)
    ours(backbone, image[None], TEXTS)  # the first run is slow
    found: dict[str, list[float]] = {"with gradients of all weights, as published": [], "with frozen weights": []}
    for _ in range(rounds):
        start = time.perf_counter()
        ours(backbone, image[None], TEXTS)
        mine = time.perf_counter() - start
        for frozen, name in enumerate(found):
            found[name].append(seconds_of_whole(backbone, image, TEXTS, layer, steps, samples, bool(frozen)) / mine)
    return [
        {
            "part": "speed",
            "data": f"one photo, {len(TEXTS)} text{'s' * (len(TEXTS) > 1)}",
            "model": tower,
            "by": "whole model at every step, a pair at a time",
            "how": name,
            "figure": "seconds over M2IB's",
            "value": sum(ratios) / len(ratios),
            "interval": mean_interval(ratios) if len(ratios) > 1 else None,
            "each": ratios,
        }
        for name, ratios in found.items()
    ]
