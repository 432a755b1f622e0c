"""One block of open_clip's vision transformer, and the ways in which the last one makes dense patches.

Tokens [B, N, width] go in: the class token, then the patches, then padding where a mask [B, N] of bools says so (True:
a real token, which the others attend to). The image vector is always made from the block as it was trained.

- `value`: each token passes its own value instead of a mixture; residual and MLP kept (MaskCLIP, arXiv 2112.01071, in
  the form of CLIP-DINOiser, 2312.12359).
- `sclip`: attention softmax(q qT / sqrt d) + softmax(k kT / sqrt d); residual and MLP kept (SCLIP, 2312.01597).
- `clearclip`: attention softmax(q qT / sqrt d), neither residual nor MLP (ClearCLIP, 2407.12442). A layer scale, which
  the published code does not know, is kept: it is part of what the attention adds.

In the last two, as in the published code of both, patches attend to the class token too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def run_block(
    block: Any, x: Tensor, mask: Tensor | None = None, need_attention: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The block as it was trained: tokens [B, N, width] and, if asked for, its attention [B, heads, N, N].

    Written out because torch's attention returns a copy of its probabilities that the output does not depend on:
    gradients with respect to it would be lost.
    """
    q, k, v = _project(block, block.ln_1(x), slice(None))
    mixture, attention = _attend(q, k, v, x.shape[1], mask, need_attention)
    return _rest(block, x, mixture), attention


def last_block(
    block: Any, x: Tensor, way: str, n_trained: int, mask: Tensor | None = None, need_attention: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Patches [B, N - 1, width] by `way`, the first `n_trained` tokens by the block as it was trained, its attention.

    Nothing is computed that neither of them needs: with `n_trained` = 1, the class token alone, all go through one MLP
    (through two where the attention is asked for).
    """
    q, k, v = _project(block, block.ln_1(x), slice(n_trained) if way == "value" and not need_attention else slice(None))
    trained, attention = _attend(q, k, v, n_trained, mask, need_attention)
    real = None if mask is None else mask[:, None, None]
    dense = v[:, :, 1:] if way == "value" else F.scaled_dot_product_attention(q[:, :, 1:], q, v, real)
    if way == "sclip":
        dense = dense + F.scaled_dot_product_attention(k[:, :, 1:], k, v, real)
    if need_attention:  # each by itself: gradients of the image vector then run through its own tokens alone
        patches = _leave(block, dense) if way == "clearclip" else _rest(block, x[:, 1:], dense)
        return patches, _rest(block, x[:, :n_trained], trained), attention
    added = _leave(block, torch.cat([trained, dense], dim=2))
    if way == "clearclip":
        patches, y = added[:, n_trained:], x[:, :n_trained] + added[:, :n_trained]
        return patches, y + block.ls_2(block.mlp(block.ln_2(y))), None
    y = (x if n_trained == 1 else torch.cat([x[:, :n_trained], x[:, 1:]], dim=1)) + added
    y = y + block.ls_2(block.mlp(block.ln_2(y)))
    return y[:, n_trained:], y[:, :n_trained], None


def _project(block: Any, normed: Tensor, queries: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of some tokens, keys and values of all, each [B, heads, tokens, head width]."""
    attn, width = block.attn, normed.shape[-1]
    weight, bias = attn.in_proj_weight, attn.in_proj_bias
    q = F.linear(normed[:, queries], weight[:width], bias[:width])
    k, v = F.linear(normed, weight[width:], bias[width:]).chunk(2, dim=-1)
    q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    return q, k, v


def _attend(
    q: Tensor, k: Tensor, v: Tensor, n: int, mask: Tensor | None, need_attention: bool
) -> tuple[Tensor, Tensor | None]:
    """Mixtures of the first n tokens [B, heads, n, head width], and the attention of all if it is asked for."""
    if need_attention:
        attention = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
        return attention[:, :, :n] @ v, attention
    return F.scaled_dot_product_attention(q[:, :, :n], k, v, None if mask is None else mask[:, None, None]), None


def _rest(block: Any, x: Tensor, heads: Tensor) -> Tensor:
    """What comes out of the block, from the tokens that went in and the heads of their attention."""
    x = x + _leave(block, heads)
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _leave(block: Any, heads: Tensor) -> Tensor:
    """What the attention adds to the tokens, from its heads [B, heads, tokens, head width]."""
    return block.ls_1(block.attn.out_proj(heads.transpose(1, 2).flatten(2)))
