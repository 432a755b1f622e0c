"""What all models of open_clip share, whatever their vision tower: name, text tower, colours, fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ..base import Backbone, fingerprint_of, hash_tensors
from ..text_towers import TextTower

CODE_VERSION = "openclip 1"  # change it when the same weights begin to give other vectors
TEXT_BATCH = 256
WAYS = {
    "value": "each passed through the last attention's value path",
    "tokens": "the tokens of the last layer, projected",
    "sclip": "the last block attends by query-query and key-key similarity (SCLIP)",
    "clearclip": "only what the last block's attention adds, by query-query similarity (ClearCLIP)",
}


class OpenClipModel(Backbone):
    """A model of open_clip: `model` as its loader gave it, `tokenizer` its own.

    A sub-class is one kind of vision tower: it sets `dim`, `patch`, `grid`, `depth`, `width`, `n_prefix` and
    `has_class_token`, writes `encode_image`, names in `ways` those of `WAYS` by which it can make dense patches, and
    refuses in `check_config` what it is not written for. `name` is what stands behind `openclip:`, without the way.
    """

    has_text = True
    ways: tuple[str, ...] = ("value",)

    def __init__(self, name: str, model: Any, tokenizer: Any, way: str = "value") -> None:
        from open_clip import get_model_preprocess_cfg

        super().__init__()
        config = get_model_preprocess_cfg(model)
        self.way = way
        self.name = f"openclip:{name}" if way == "value" else f"openclip:{name}+{way}"
        architecture, _, weights = name.partition("/")
        what = f"model {name}" if ":" in architecture else f"{architecture}, weights {weights or 'untrained'}"
        self.description = f"open_clip's {what}" + ("." if way == "value" else f"; patches: {WAYS[way]}.")
        self.model = model
        self.tokenizer = tokenizer
        size = model.visual.image_size  # (height, width), of ResNet towers a number
        self.image_size = size if isinstance(size, int) else size[0]
        self.set_colours(config["mean"], config["std"])

    @classmethod
    def check_way(cls, name: str, way: str) -> None:
        """`InsightError` unless this kind of tower makes dense patches by that way; before anything is loaded."""
        if way not in cls.ways:
            others = [f"+{known}" for known in cls.ways if known != "value"]
            raise InsightError(
                f"openclip:{name} makes dense patches by its value path (nothing behind the name)"
                f"{''.join(f' or {other}' for other in others)}, found +{way}"
            )

    @classmethod
    def check_config(cls, name: str, vision: Mapping[str, Any]) -> None:
        """`InsightError` if the tower of these settings (`vision_cfg`) gives no dense patches; before any download."""

    @cached_property
    def fingerprint(self) -> str:
        """Over every weight, at the first call."""
        return fingerprint_of([self.name, CODE_VERSION, hash_tensors(self.model.state_dict())])

    @property
    def logit_scale(self) -> float:
        """As the model learnt it."""
        return float(self.model.logit_scale.detach().exp().mean())

    @property
    def text_tower(self) -> TextTower:
        from ..text_towers.openclip import OpenClipText

        return OpenClipText(self.name, self.model, self.tokenizer)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Unit vectors [n, dim] of the text tower."""
        device = self.colour_mean.device
        batches = [texts[i : i + TEXT_BATCH] for i in range(0, len(texts), TEXT_BATCH)]
        vectors = [self.model.encode_text(self.tokenizer(batch).to(device), normalize=True) for batch in batches]
        return torch.cat(vectors) if vectors else torch.empty(0, self.dim, device=device)


def resized_positions(positions: Tensor, trained: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Positional embedding [1 + h*w, width] for a grid (h, w), from that of the trained grid.

    The first is that of the class token or of the mean and stays; the others are resized bicubically.
    """
    if grid == trained:
        return positions
    places = positions[1:].T.reshape(1, -1, *trained)
    resized = F.interpolate(places, size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], resized.flatten(2)[0].T])
