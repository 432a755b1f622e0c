"""open_clip's own text transformer as a `TextTower`: of CLIP, SigLIP and most others.

Where tokens see only those before them (CLIP), all texts are cut behind the longest of them, which changes nothing and
saves most of the 77 places. Towers whose mask depends on the words (CoCa's class token, padding masks) and those of
transformers (multilingual ones) are refused.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sae.errors import InsightError

from .base import TextTokens, TextTower


class OpenClipText(TextTower):
    """The text tower of an open_clip `model` with its `tokenizer`; `InsightError` (by `name`) if of another kind."""

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        text = getattr(model, "text", model)
        plain = hasattr(text, "token_embedding") and hasattr(getattr(text, "transformer", None), "resblocks")
        if not plain or getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
            raise InsightError(
                f"backbone {name} has a text tower ({type(text).__name__}) that is not cut at its blocks, so prompts"
                " are not learnt and words not weighed in it; use openclip:ViT-B-16/laion2b_s34b_b88k or `small`"
            )
        self._text = text
        self._tokenizer = tokenizer
        self._pool = getattr(text, "pool_type", getattr(text, "text_pool_type", "argmax"))
        self._end_id = getattr(text, "eos_id", getattr(text, "text_eos_id", None))
        self.context_length = text.context_length
        self.width = text.token_embedding.weight.shape[1]
        self.depth = len(text.transformer.resblocks)
        projection = text.text_projection
        self.dim = self.width
        if projection is not None:
            self.dim = projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]

    def tokens(self, texts: list[str]) -> TextTokens:
        ids = self._tokenizer(texts).to(self._text.token_embedding.weight.device)
        end = self._ends(ids)
        if self._causal and self._pool in ("argmax", "eos"):
            ids = ids[:, : int(end.max()) + 1]
        return TextTokens(ids, torch.arange(ids.shape[1], device=ids.device) <= end[:, None], end)

    def length(self, text: str) -> int:
        encode = getattr(self._tokenizer, "encode", None)  # open_clip's own byte pair encoder, without start and end
        if encode is not None:
            return len(encode(text)) + 2
        return len(self._tokenizer.tokenizer(self._tokenizer.clean_fn(text))["input_ids"])

    def pieces(self, ids: Int64[Tensor, " k"]) -> list[str]:
        decode = getattr(self._tokenizer, "decode", None) or self._tokenizer.tokenizer.decode
        return [decode([number]).strip() for number in ids.tolist()]

    def embed(self, tokens: TextTokens) -> Float[Tensor, "n L width"]:
        return self._text.token_embedding(tokens.ids)

    def place(self, embedded: Float[Tensor, "n L width"]) -> Float[Tensor, "n L width"]:
        return embedded + self._text.positional_embedding[: embedded.shape[1]]

    def run(
        self, z: Float[Tensor, "n L width"], tokens: TextTokens, block: int, to: int
    ) -> Float[Tensor, "n L width"]:
        length, mask = z.shape[1], self._text.attn_mask
        mask = None if mask is None else mask[:length, :length]
        for layer in self._text.transformer.resblocks[block:to]:
            z = layer(z, attn_mask=mask)
        return z

    def finish(self, z: Float[Tensor, "n L width"], tokens: TextTokens) -> Float[Tensor, "n dim"]:
        z = self._text.ln_final(z)
        if self._pool in ("first", "last"):
            pooled = z[:, 0 if self._pool == "first" else -1]
        else:
            pooled = z[torch.arange(len(z), device=z.device), tokens.end]
        return F.normalize(self._project(pooled), dim=-1)

    @property
    def _causal(self) -> bool:
        return self._text.attn_mask is not None

    def _ends(self, ids: Int64[Tensor, "n L"]) -> Int64[Tensor, " n"]:
        """Where each text ends. CLIP's end token has the largest number; the others say which it is."""
        if self._pool == "argmax":
            return ids.argmax(dim=1)
        if self._pool == "eos":
            return ids.eq(self._end_id or 0).int().argmax(dim=1)
        padding = getattr(self._text, "pad_id", 0)
        return (ids != padding).sum(1).sub(1).clamp_min(0)

    def _project(self, pooled: Tensor) -> Tensor:
        projection = self._text.text_projection
        if projection is None:
            return pooled
        return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection.to(pooled.device)
