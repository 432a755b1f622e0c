"""`openclip:MODEL/PRETRAINED`: open_clip's own vision transformers, with patches in the space of the text tower.

The dense path (Insight, arXiv 2601.13798, as its code has it; first in MaskCLIP and CLIP-DINOiser): the last block
passes every token its own value instead of a mixture, keeps the residual and the MLP, and the result goes through the
final norm and the projection. `pooled` is the model's own image vector, projected and not normalised.

`openclip:MODEL/` (nothing behind the slash) builds the model with seeded random weights: for tests, never for results.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from .base import short
from .openclip_model import OpenClipModel
from .transformer import Transformer
from .weight_sources import impatient_hub


class OpenClip(OpenClipModel, Transformer):
    """A CLIP model whose vision tower is open_clip's own VisionTransformer."""

    n_prefix = 1
    has_class_token = True

    def __init__(self, name: str, model: Any, tokenizer: Any, way: str = "value") -> None:
        super().__init__(name, model, tokenizer, way)
        visual = model.visual
        self.dim = visual.output_dim
        self.patch = visual.patch_size[0]
        self.grid = tuple(visual.grid_size)
        self.depth = len(visual.transformer.resblocks)
        self.width = visual.class_embedding.shape[-1]

    def embed(self, images: Tensor) -> Tensor:
        visual = self.model.visual
        pixels = self.normalise_colours(images).to(visual.conv1.weight.dtype)
        tokens = visual.conv1(pixels).flatten(2).transpose(1, 2)
        z = torch.cat([visual.class_embedding.expand(len(tokens), 1, -1), tokens], dim=1)
        return visual.ln_pre(z + self._positions(self.grid_for(images)))

    def run(
        self, z: Tensor, block: int, to: int, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        attention = None
        for number, layer in enumerate(self.model.visual.transformer.resblocks[block:to], block):
            if mask is None and not (need_attention and number == to - 1):
                z = layer(z)
            else:
                _, z, attention = _run_block(layer, z, mask, need_attention)
        return z, attention

    def finish(
        self, z: Tensor, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        visual = self.model.visual
        own, mixed, attention = _run_block(visual.transformer.resblocks[-1], z, mask, need_attention)
        patches = visual.ln_post(own[:, self.n_prefix :]) @ visual.proj
        return patches, self._pool(mixed, mask) @ visual.proj, attention

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Positional embedding [1 + h*w, width], resized bicubically when the photo is not of `image_size`."""
        positions = self.model.visual.positional_embedding
        if grid == self.grid:
            return positions
        trained = positions[1:].T.reshape(1, -1, *self.grid)
        resized = F.interpolate(trained, size=grid, mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([positions[:1], resized.flatten(2)[0].T])

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


def _run_block(
    block: Any, x: Tensor, mask: Tensor | None, need_attention: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Two outputs [B, N, width] of a block: with each token's own value, and with the usual mixture of values.

    Written out because both share the values, and because torch's attention returns a copy of its probabilities that
    the output does not depend on: gradients with respect to it would be lost.
    """
    attn = block.attn
    values = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in values)
    attention = None
    if need_attention:
        attention = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
        mixture = attention @ v
    else:
        mixture = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None])
    own, mixed = (x + block.ls_1(attn.out_proj(value)) for value in (values[2], mixture.transpose(1, 2).flatten(2)))
    own, mixed = (value + block.ls_2(block.mlp(block.ln_2(value))) for value in (own, mixed))
    return own, mixed, attention


def load_openclip(name: str) -> OpenClip:
    """The open_clip model MODEL/PRETRAINED, by open_clip's own loader. `InsightError` if it cannot be had."""
    import open_clip

    architecture, slash, pretrained = name.partition("/")
    if not slash:
        tags = open_clip.list_pretrained_tags_by_model(architecture)[:5]
        raise InsightError(f"expected openclip:MODEL/PRETRAINED, found openclip:{name}; trained are {', '.join(tags)}")
    if architecture not in open_clip.list_models():
        raise InsightError(f"open_clip has no model {architecture!r}; `open_clip.list_models()` has all names")
    _check_tower(architecture)
    # Some weights were trained with the quick form of GELU, which the architecture's name need not say.
    quick = bool((open_clip.get_pretrained_cfg(architecture, pretrained) or {}).get("quick_gelu"))
    try:
        with torch.random.fork_rng(devices=[]), impatient_hub() if pretrained else nullcontext():
            torch.manual_seed(0)
            model = open_clip.create_model(architecture, pretrained=pretrained or None, force_quick_gelu=quick)
            tokenizer = open_clip.get_tokenizer(architecture)
    except Exception as error:  # open_clip's loader raises the hub client's, the HTTP library's and its own errors
        raise InsightError(
            f"openclip:{name}: could not be loaded ({short(error)}); check the tag, or go online once so that "
            "open_clip can fetch it, or use `small`"
        ) from None
    return OpenClip(name, model, tokenizer)


def _check_tower(architecture: str) -> None:
    """`InsightError` for vision towers that the dense path is not written for yet; looks at the configuration only."""
    import open_clip

    vision = open_clip.get_model_config(architecture)["vision_cfg"]
    unusual = ("attentional_pool", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner")
    reason = None
    if vision.get("timm_model_name"):
        reason = "a timm tower"
    elif isinstance(vision.get("layers"), (list, tuple)):
        reason = "a ResNet tower"
    elif found := [key for key in (*unusual, "scale_attn", "scale_fc") if vision.get(key)]:
        reason = f"{found[0]} in its tower"
    elif vision.get("pool_type", "tok") not in ("tok", "avg"):
        reason = f"pooling {vision['pool_type']!r}"
    if reason:
        raise InsightError(
            f"openclip:{architecture} has {reason}, which gives no dense patches here yet; use a plain ViT such as "
            "openclip:ViT-B-16/laion2b_s34b_b88k"
        )
