"""A timm vision transformer in parts: its first tokens, some of its blocks, and the attention of the last of them.

Of timm's classes, those are one row of blocks: VisionTransformer, Eva (EVA, DINOv3, Perception Encoder: rotary
positions) and NaFlexVit.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from sae.errors import InsightError

READABLE = ("Attention", "EvaAttention", "AttentionRope")  # timm's classes whose probabilities pass through attn_drop
PRE_NORM = ("Block", "EvaBlock")  # timm's blocks whose attention is given `norm1` of the tokens


def first_tokens(vit: Any, images: Tensor) -> Tensor:
    """Tokens [B, prefix + h*w, width] that go into block 0. Images have their colours normalised."""
    if hasattr(vit, "embeds"):  # NaFlexVit
        return vit.norm_pre(vit.embeds(images)[0])
    placed = vit._pos_embed(vit.patch_embed(images))
    if isinstance(placed, tuple):  # Eva: tokens, and rotary positions, which `rotary` makes for any grid
        return vit.norm_pre(placed[0])
    return vit.norm_pre(vit.patch_drop(placed))


def rotary(vit: Any, grids: Sequence[tuple[int, int]]) -> list[Tensor] | None:
    """For each block what turns the positions of photos of these grids into queries and keys; None: nothing does.

    With several grids, a batch of one photo each: the embeddings end in zeros where a photo has no more patches.
    """
    rope = getattr(vit, "rope", None)
    if rope is None:
        return None
    each = [_rotary_of(rope, grid) for grid in grids]  # [N, 2 d]; [depth, heads, N, 2 d] if each block turns otherwise
    longest = max(one.shape[-2] for one in each)
    padded = [nn.functional.pad(one, (0, 0, 0, longest - one.shape[-2])) for one in each]
    turns = list(torch.stack([one if one.ndim == 4 else one[None, None] for one in padded], dim=1))
    return turns if len(turns) > 1 else turns * len(vit.blocks)


def _rotary_of(rope: Any, grid: tuple[int, int]) -> Tensor:
    kept_for = getattr(rope, "feat_shape", None)  # a model that was built for one size keeps its embedding
    if kept_for is None:
        return rope.get_embed(shape=grid)
    if tuple(kept_for) != grid:
        rope = deepcopy(rope)
        rope.update_feat_shape(grid)
    return rope.get_embed()


def run_blocks(
    vit: Any,
    z: Tensor,
    block: int,
    to: int,
    mask: Tensor | None = None,
    need_attention: bool = False,
    turns: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run blocks `block` to `to` - 1: tokens, and the attention of the last of them [B, heads, N, N] if asked.

    mask: [B, N], the tokens that may be attended to (None: all). turns: what `rotary` gives, for each block.
    """
    attention = None
    keywords: dict[str, Any] = {} if mask is None else {"attn_mask": mask[:, None, None]}
    for number in range(block, to):
        layer = vit.blocks[number]
        if turns is not None:
            keywords["rope"] = turns[number]
        if need_attention and number == to - 1:
            z, attention = _with_attention(layer, z, keywords)
        else:
            z = layer(z, **keywords)
    return z, attention


def _with_attention(layer: Any, z: Tensor, keywords: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Run one block with its unfused attention and catch the probabilities on their way to the values.

    Caught rather than computed a second time, so that the output depends on the returned tensor and relevance methods
    can take gradients with respect to it.
    """
    attn: Any = getattr(layer, "attn", None)
    if type(attn).__name__ not in READABLE or not hasattr(attn, "fused_attn"):
        raise InsightError(f"cannot read the attention of {type(layer).__name__}; use a plain vision transformer")
    caught: list[Tensor] = []
    hook = attn.attn_drop.register_forward_hook(lambda module, args, output: caught.append(output))
    fused, attn.fused_attn = attn.fused_attn, False
    try:
        z = layer(z, **keywords)
    finally:
        attn.fused_attn = fused
        hook.remove()
    return z, caught[0]


def last_values(vit: Any, z: Tensor) -> Tensor:
    """Values [B, N, d] of the last block, its heads one behind the other, from the tokens that go into it.

    Queries and keys are not computed. `InsightError` for blocks that do not begin with a norm and a known attention.
    """
    layer = vit.blocks[-1]
    attn: Any = getattr(layer, "attn", None)
    if type(layer).__name__ not in PRE_NORM or type(attn).__name__ not in READABLE:
        raise InsightError(f"cannot read the values of {type(layer).__name__}; use a plain vision transformer")
    normed = layer.norm1(z)
    if getattr(attn, "v_proj", None) is not None:
        return attn.v_proj(normed)
    start = attn.qkv.out_features // 3 * 2
    bias = getattr(attn, "v_bias", None) if attn.qkv.bias is None else attn.qkv.bias[start:]
    return nn.functional.linear(normed, attn.qkv.weight[start:], bias)
