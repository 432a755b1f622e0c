"""A timm vision transformer as a `Transformer`: photos of any size go in, blocks run, and single tokens are pooled.

Comes in: a model of timm's VisionTransformer, Eva or NaFlexVit class. Goes out: all of `Transformer` but `finish`,
which says what becomes of the last tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..transformer import Transformer
from .vit import first_tokens, rotary, run_blocks


class TimmBlocks(Transformer):
    """A `Transformer` whose blocks are those of `vit`. Sub-classes call `set_blocks` and write `finish`."""

    @property
    def vit(self) -> Any:
        """The timm model."""
        raise NotImplementedError

    @property
    def blocks(self) -> nn.ModuleList | nn.Sequential:
        return self.vit.blocks

    def set_blocks(self, image_size: int) -> None:
        """Set what the shape of `vit` says, and let it take photos of any size. image_size: of its training, pixels."""
        vit = self.vit
        take_any_size(vit)
        self.patch = vit.feature_info[-1]["reduction"]
        side = image_size // self.patch
        self.grid = (side, side)
        self.image_size = side * self.patch  # a convolution leaves out what is no whole patch (384 pixels by 14)
        self.depth = len(vit.blocks)
        self.width = vit.embed_dim
        self.n_prefix = vit.num_prefix_tokens
        self.has_class_token = has_class_token(vit)

    def placing(self, z: Tensor, grids: Sequence[tuple[int, int]] | None) -> dict[str, Any]:
        if getattr(self.vit, "rope", None) is None:
            return {}
        return {"turns": rotary(self.vit, grids or [self.grid_of(z.shape[1] - self.n_prefix)])}

    def embed(self, images: Tensor) -> Tensor:
        return first_tokens(self.vit, self.normalise_colours(images))

    def run(
        self,
        z: Tensor,
        block: int,
        to: int,
        mask: Tensor | None = None,
        need_attention: bool = False,
        turns: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        return run_blocks(self.vit, z, block, to, mask, need_attention, turns)


def pool_each(head: Callable[[Tensor], Tensor], tokens: Tensor, mask: Tensor | None) -> Tensor:
    """What a pooling head makes of each photo's tokens, those of the mask: [B, N, width] to [B, d]."""
    if mask is None:
        return head(tokens)
    return torch.cat([head(own[real][None]) for own, real in zip(tokens, mask, strict=True)])


def is_row_of_blocks(model: Any) -> bool:
    """Whether a timm model is one row of transformer blocks of a class that `TimmBlocks` knows."""
    from timm.models.eva import Eva
    from timm.models.naflexvit import NaFlexVit
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(model, (VisionTransformer, Eva, NaFlexVit))


def has_class_token(vit: Any) -> bool:
    """Whether the first token of a timm vision transformer is a class token."""
    return getattr(getattr(vit, "embeds", vit), "cls_token", None) is not None


def take_any_size(model: Any) -> None:
    """Let a timm model take photos of other sizes than it was built for: rectangles, and any number of whole patches.

    Learned positions are resized from then on (bicubic, as timm does), windows are masked for the size that comes.
    Does what building the model with `dynamic_img_size` or without `strict_img_size` does; for models that were built
    by others (open_clip). Models that take any size as they are stay as they are.
    """
    from timm.layers import Format

    windows = [module for module in model.modules() if hasattr(module, "dynamic_mask")]
    row = is_row_of_blocks(model) and hasattr(model, "patch_embed")
    if row or windows:
        model.patch_embed.strict_img_size = False
    if row:
        model.dynamic_img_size = True
        model.patch_embed.flatten, model.patch_embed.output_fmt = False, Format.NHWC
    for module in windows:
        module.dynamic_mask = True


def lone_tokens(layer: Any, z: Tensor) -> Tensor:
    """What a transformer block makes of each token [B, N, width] on its own, as if there were no other.

    A token that can attend to itself alone is given its own value: this is the value path, with the residual, the MLP
    and whatever norms and gates the block has, exactly.
    """
    return layer(z.flatten(0, 1)[:, None])[:, 0].unflatten(0, z.shape[:2])


def lone_pooled(pool: Any, tokens: Tensor) -> Tensor:
    """What timm's attention pooling makes of each token [B, N, width] on its own: [B, N, width of the pooling].

    `pool(token)` of a sequence of that one token: the softmax over a single key is 1 whatever the query, so what is
    left is the value projection, the output projection, and the MLP around its residual. Queries and keys are not
    computed.
    """
    width = pool.kv.out_features // 2
    bias = None if pool.kv.bias is None else pool.kv.bias[width:]
    own = pool.proj(F.linear(tokens, pool.kv.weight[width:], bias))
    return own if pool.mlp is None else own + pool.mlp(pool.norm(own))
