"""A timm vision transformer in parts: its first tokens, some of its blocks, and the attention of the last of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sae.errors import InsightError


def first_tokens(vit: Any, images: Tensor) -> Tensor:
    """Tokens [B, prefix + h*w, width] that go into block 0. Images have their colours normalised."""
    return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))


def run_blocks(
    vit: Any, z: Tensor, block: int, to: int, mask: Tensor | None = None, need_attention: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Run blocks `block` to `to` - 1: tokens, and the attention of the last of them [B, heads, N, N] if asked.

    mask: [B, N], the tokens that may be attended to (None: all).
    """
    if mask is not None:
        for layer in vit.blocks[block:to]:
            z = layer(z, attn_mask=mask[:, None, None])
        return z, None
    for layer in vit.blocks[block : to - need_attention]:
        z = layer(z)
    return _with_attention(vit.blocks[to - 1], z) if need_attention else (z, None)


def _with_attention(layer: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """Run one block with its unfused attention and catch the probabilities on their way to the values.

    Caught rather than computed a second time, so that the output depends on the returned tensor and relevance methods
    can take gradients with respect to it.
    """
    attn: Any = getattr(layer, "attn", None)
    if type(attn).__name__ != "Attention" or not hasattr(attn, "fused_attn"):
        raise InsightError(f"cannot read the attention of {type(layer).__name__}; use a plain vision transformer")
    caught: list[Tensor] = []
    hook = attn.attn_drop.register_forward_hook(lambda module, args, output: caught.append(output))
    fused, attn.fused_attn = attn.fused_attn, False
    try:
        z = layer(z)
    finally:
        attn.fused_attn = fused
        hook.remove()
    return z, caught[0]
