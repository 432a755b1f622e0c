"""open_clip's own vision transformers, with patches in the space of the text tower.

`OpenClip` takes the image vector from the class token or from the mean of the patches; dense patches come from the
last block by one of the ways of `ways`, then the final norm and the projection. `PoolerOpenClip` (CoCa) takes
the image vector from an attention pooler behind the last block; dense patches pass that pooler's values instead.
`pooled` is the model's own image vector, projected and not normalised, whatever the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sae.errors import InsightError

from ..transformer import Transformer
from .model import OpenClipModel, resized_positions
from .ways import last_block, run_block

CUSTOM = ("block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")


class OpenClip(OpenClipModel, Transformer):
    """A CLIP model whose vision tower is open_clip's own VisionTransformer."""

    ways: tuple[str, ...] = ("value", "tokens", "sclip", "clearclip")
    n_prefix = 1
    has_class_token = True

    def __init__(self, name: str, model: Any, tokenizer: Any, way: str = "value") -> None:
        super().__init__(name, model, tokenizer, way)
        visual = model.visual
        self.dim = visual.ln_post.normalized_shape[0] if visual.proj is None else visual.proj.shape[1]
        self.patch = visual.patch_size[0]
        self.grid = tuple(visual.grid_size)
        self.depth = len(visual.transformer.resblocks)
        self.width = visual.class_embedding.shape[-1]

    @classmethod
    def check_config(cls, name: str, vision: Mapping[str, Any]) -> None:
        reason = None
        if found := [key for key in CUSTOM if vision.get(key) not in (None, False, "default")]:
            reason = f"{found[0]} in its blocks, whose attention is another one"
        elif isinstance(pooler := vision.get("attentional_pool"), str):
            reason = f"{pooler} attention poolers, which open_clip itself has as untested"
        elif (pooling := vision.get("pool_type", "tok")) not in ("tok", "avg"):
            reason = f"pooling {pooling!r}, so no image vector"
        elif not isinstance(patch := vision.get("patch_size", 16), int):
            reason = f"patches of {patch}, which are not square"
        if reason:
            raise InsightError(
                f"openclip:{name} has {reason}: no dense patches are defined for it; use another model, such as"
                " openclip:ViT-B-16/laion2b_s34b_b88k"
            )

    @property
    def blocks(self) -> nn.ModuleList | nn.Sequential:
        return self.model.visual.transformer.resblocks

    def embed(self, images: Tensor) -> Tensor:
        visual = self.model.visual
        pixels = self.normalise_colours(images).to(visual.conv1.weight.dtype)
        tokens = visual.conv1(pixels).flatten(2).transpose(1, 2)
        z = torch.cat([visual.class_embedding.expand(len(tokens), 1, -1), tokens], dim=1)
        positions = resized_positions(visual.positional_embedding, self.grid, self.grid_for(images))
        return visual.ln_pre(z + positions)

    def run(
        self, z: Tensor, block: int, to: int, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        attention = None
        for number, layer in enumerate(self.model.visual.transformer.resblocks[block:to], block):
            if mask is None and not (need_attention and number == to - 1):
                z = layer(z)
            else:
                z, attention = run_block(layer, z, mask, need_attention)
        return z, attention

    def finish(
        self, z: Tensor, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        visual = self.model.visual
        if self.way == "tokens":
            tokens, attention = self.run(z, self.depth - 1, self.depth, mask, need_attention)
            patches = tokens[:, self.n_prefix :]
        else:
            needed = 1 if visual.pool_type == "tok" else z.shape[1]
            block = visual.transformer.resblocks[-1]
            patches, tokens, attention = last_block(block, z, self.way, needed, mask, need_attention)
        return self._project(visual.ln_post(patches)), self._project(self._pool(tokens, mask)), attention

    def _pool(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """The image vector before the projection, in the order of mean and norm that this model was trained with."""
        visual = self.model.visual
        if not visual.final_ln_after_pool:
            tokens = visual.ln_post(tokens)
        if visual.pool_type == "tok":
            pooled = tokens[:, 0]
        elif mask is None:
            pooled = tokens[:, 1:].mean(1)
        else:
            real = mask[:, 1:, None]
            pooled = (tokens[:, 1:] * real).sum(1) / real.sum(1)
        return visual.ln_post(pooled) if visual.final_ln_after_pool else pooled

    def _project(self, vectors: Tensor) -> Tensor:
        """Into the space of the text tower; a tower without projection is there already."""
        projection = self.model.visual.proj
        return vectors if projection is None else vectors @ projection


class PoolerOpenClip(OpenClip):
    """A tower whose image vector comes from a pooler's learned queries attending to the last block's tokens (CoCa).

    A dense patch is what the model would give for a photo if its queries attended to that patch alone, which is the
    same for every query: the pooler's norm and value, its output projection, the final norm and the projection. This
    value path is behind the last block, which stays as it was trained.
    """

    ways: tuple[str, ...] = ("value",)

    def finish(
        self, z: Tensor, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        visual = self.model.visual
        tokens, attention = self.run(z, self.depth - 1, self.depth, mask, need_attention)
        pooler = visual.attn_pool
        keys = pooler.ln_k(tokens)
        learned = pooler.query[:1] if visual.pool_type == "tok" else pooler.query[1:]
        queries = pooler.ln_q(learned).expand(len(keys), -1, -1)
        padding = None if mask is None else ~mask
        vectors = pooler.attn(queries, keys, keys, key_padding_mask=padding, need_weights=False)[0]
        patches = visual.ln_post(_values(pooler.attn, keys[:, self.n_prefix :]))
        return self._project(patches), self._project(visual.ln_post(vectors).mean(1)), attention


def _values(attn: torch.nn.MultiheadAttention, x: Tensor) -> Tensor:
    """What each of x [B, N, width] alone gives through an attention: its value and the output projection."""
    packed = attn.in_proj_weight  # None where keys and queries are not of one width
    weight = attn.v_proj_weight if packed is None else packed.chunk(3)[2]
    return attn.out_proj(F.linear(x, weight, attn.in_proj_bias.chunk(3)[2]))
