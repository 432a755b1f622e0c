"""A timm vision transformer in parts: up to the input of a block, from block to block, and on to normalised tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sae.errors import InsightError


def tokens_before(vit: Any, images: Tensor, block: int) -> Tensor:
    """Tokens [B, prefix + h*w, width] that go into block number `block`. Images have their colours normalised."""
    z = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))
    for layer in vit.blocks[:block]:
        z = layer(z)
    return z


def tokens_between(vit: Any, z: Tensor, block: int, to: int, need_attention: bool) -> tuple[Tensor, Tensor | None]:
    """Run blocks `block` to `to` - 1: tokens, and the attention of the last of them [B, heads, N, N] if asked."""
    for layer in vit.blocks[block : to - 1]:
        z = layer(z)
    last = vit.blocks[to - 1]
    return _with_attention(last, z) if need_attention else (last(z), None)


def tokens_from(vit: Any, z: Tensor, block: int, need_attention: bool) -> tuple[Tensor, Tensor | None]:
    """Run blocks `block` to the last and the final norm: tokens, and the last attention [B, heads, N, N] if asked."""
    z, attention = tokens_between(vit, z, block, len(vit.blocks), need_attention)
    return vit.norm(z), attention


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


def grid_of(name: str, n_patches: int) -> tuple[int, int]:
    """The square grid of that many patches; `InsightError` when they do not make a square."""
    side = round(n_patches**0.5)
    if side * side != n_patches:
        raise InsightError(f"backbone {name}: {n_patches} patches make no square grid; encode square photos")
    return side, side
