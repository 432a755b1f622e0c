"""What an explanation costs: the time of explaining one photograph over that of the backbone's forward, in pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from PIL import Image

from benchmarks.heads.figures import Row
from benchmarks.heads.settings import ROUNDS
from benchmarks.probes.speed import ratio_of
from insight.backbones import Backbone

COST_FIGURE = "time of explaining one photograph, over the backbone's forward"


def cost_rows(
    name: str, backbone: Backbone, explain: Callable[[Image.Image], object], photos: Sequence[Image.Image]
) -> list[Row]:
    """A row of the median over pairs, with its interval over pairs drawn anew.

    `explain` begins with the photograph in memory; the forward is that of the tensor alone. One right after the other,
    each first in every second pair; the first pair is not counted.
    """
    tensors = [backbone.transform(photo)[None] for photo in photos]
    pairs = []
    with torch.inference_mode():
        for round_ in range(-1, ROUNDS):
            place = round_ % len(photos)
            runs = {
                "images_per_s": lambda place=place: explain(photos[place]),
                "bare_images_per_s": lambda place=place: backbone.encode_image(tensors[place]),
            }
            pair = {}
            for figure in sorted(runs, reverse=round_ % 2 == 0):
                begin = time.perf_counter()
                runs[figure]()
                pair[figure] = 1 / (time.perf_counter() - begin)
            pairs.append(pair)
    value, interval = ratio_of(pairs[1:])
    base: Row = {"part": "speed", "data": name, "by": "concept head", "figure": COST_FIGURE, "against": None}
    return [{**base, "value": value, "interval": interval, "each": None, "pairs": pairs[1:]}]
