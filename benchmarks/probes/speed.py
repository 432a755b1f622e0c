"""How fast a backbone encodes photos, beside the bare forward of the same tower, in interleaved pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from insight.backbones import load
from insight.backbones.small.dinov2 import build_dinov2
from sae.errors import InsightError

BATCH = 8


def bare_forward(name: str) -> Callable[[Tensor], Any]:
    """What timm or open_clip themselves run for `small` or `openclip:MODEL/`: photos to what the tower returns."""
    kind, _, rest = name.partition(":")
    if name == "small":
        return build_dinov2().eval().forward_features
    if kind == "openclip":
        import open_clip

        model: Any = open_clip.create_model(rest.partition("/")[0], pretrained=None)
        return model.visual.eval()
    raise InsightError(f"{name}: expected small or openclip:MODEL/ to compare with a bare tower")


def with_known_words(name: str) -> str:
    """`name`, or where its tokenizer is on a hub alone (SigLIP's), the same vision tower beside the words of CLIP."""
    import open_clip

    model = name.partition(":")[2].partition("/")[0]
    config = open_clip.get_model_config(model) if name == f"openclip:{model}/" else None
    if config is None or "hf_tokenizer_name" not in config["text_cfg"]:
        return name
    config["text_cfg"] = open_clip.get_model_config("ViT-B-16")["text_cfg"]
    with TemporaryDirectory() as folder:
        # Under another name, because open_clip asks the hub by the name alone.
        file = Path(folder) / f"vision-tower-{len(open_clip.list_models())}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        open_clip.add_model_config(file)
    return f"openclip:{file.stem}/"


def speed_rows(name: str, rounds: int) -> list[dict[str, Any]]:
    """A row a round with images a second of both, taken one right after the other, each first in every second round.

    Photos are noise; the first forward of each is not counted.
    """
    name_here = with_known_words(name)
    backbone = load(name_here)
    photos = torch.rand(BATCH, 3, backbone.image_size, backbone.image_size)
    runs = {"images_per_s": backbone.encode_image, "bare_images_per_s": bare_forward(name_here)}
    rows = []
    with torch.inference_mode():
        for round_ in range(-1, rounds):
            row = {"part": "speed", "who": name, "round": round_, "batch": BATCH}
            for figure in sorted(runs, reverse=round_ % 2 == 0):
                begin = time.perf_counter()
                runs[figure](photos)
                row[figure] = BATCH / (time.perf_counter() - begin)
            rows.append(row)
    return rows[1:]


def ratio_of(rows: list[dict[str, Any]], draws: int = 2000) -> tuple[float, tuple[float, float]]:
    """Median over rounds of our time as a multiple of the bare forward's, with 95 % over rounds drawn anew."""
    ratios = torch.tensor([row["bare_images_per_s"] / row["images_per_s"] for row in rows], dtype=torch.float64)
    drawn = torch.randint(len(ratios), (draws, len(ratios)), generator=torch.Generator().manual_seed(0))
    bounds = torch.quantile(ratios[drawn].quantile(0.5, 1), torch.tensor([0.025, 0.975], dtype=torch.float64))
    return median(ratios.tolist()), (float(bounds[0]), float(bounds[1]))
