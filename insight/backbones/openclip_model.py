"""What all open_clip models share, whatever their vision tower: name, text tower, colours, fingerprint."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sae.errors import InsightError

from .base import Backbone, fingerprint_of, hash_tensors

CODE_VERSION = "openclip 1"  # change it when the same weights begin to give other vectors
TEXT_BATCH = 256
WAYS = {
    "value": "the last block's own values (value path)",
    "tokens": "the last block's tokens, projected",
    "sclip": "the last block attending by query-query and key-key similarity (SCLIP)",
    "clearclip": "the last block's attention by query-query similarity alone (ClearCLIP)",
}


class OpenClipModel(Backbone):
    """A model of open_clip: `model` as its loader gave it, `tokenizer` its own.

    A sub-class is one kind of vision tower: it sets `dim`, `patch`, `grid`, `depth`, `width`, `n_prefix` and
    `has_class_token`, writes `encode_image`, and says in `ways` by which of `WAYS` it can make dense patches. `way` is
    the one it was made for; the value path goes without a suffix in the name. `InsightError` for a way it has not.
    """

    has_text = True
    ways: tuple[str, ...] = ("value",)

    def __init__(self, name: str, model: Any, tokenizer: Any, way: str = "value") -> None:
        from open_clip import get_model_preprocess_cfg

        super().__init__()
        if way not in self.ways:
            known = ", ".join(f"+{known}" for known in self.ways if known != "value") or "no other way"
            raise InsightError(
                f"openclip:{name} makes dense patches by its value path (nothing behind the name) or {known}, found"
                f" +{way}"
            )
        config = get_model_preprocess_cfg(model)
        self.way = way
        self.name = f"openclip:{name}" + (f"+{way}" if way != "value" else "")
        architecture, _, weights = name.partition("/")
        self.description = f"open_clip's {architecture}, weights {weights or 'untrained'}."
        if way != "value":
            self.description = f"{self.description[:-1]}; patches: {WAYS[way]}."
        self.model = model
        self.tokenizer = tokenizer
        size = model.visual.image_size  # (height, width), of ResNet towers a number
        self.image_size = size if isinstance(size, int) else size[0]
        self.set_colours(config["mean"], config["std"])

    @cached_property
    def fingerprint(self) -> str:
        """Over every weight, at the first call."""
        return fingerprint_of([self.name, CODE_VERSION, hash_tensors(self.model.state_dict())])

    def encode_text(self, texts: list[str]) -> Tensor:
        """Unit vectors [n, dim] of the text tower."""
        device = self.colour_mean.device
        batches = [texts[i : i + TEXT_BATCH] for i in range(0, len(texts), TEXT_BATCH)]
        vectors = [self.model.encode_text(self.tokenizer(batch).to(device), normalize=True) for batch in batches]
        return torch.cat(vectors) if vectors else torch.empty(0, self.dim, device=device)
