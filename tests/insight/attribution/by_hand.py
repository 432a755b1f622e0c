"""The score of a tiny CLIP tower by hand, in float64: from a block's tokens, or from the last block's attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insight.backbones import Backbone

from ..backbones.openclip.forms import HEADS, MEAN, STD, WIDTH, WrittenOut
from ..tiny_clip import VISION


class ByHand(WrittenOut):
    """Scores [T] of one photo against unit vectors [T, d] of texts."""

    def __init__(self, backbone: Backbone, vectors: Tensor, **vision: Any) -> None:
        super().__init__(backbone, {"vision_cfg": {**VISION, **vision}})
        self.vectors = vectors.double()
        self.last = VISION["layers"] - 1

    def tokens_into(self, photo: Tensor, block: int) -> Tensor:
        x = self.tokens((photo.double() - MEAN) / STD)
        for number in range(block):
            x = self.rest(number, x, self.mixture(number, x, "qk"))
        return x

    def from_tokens(self, x: Tensor, block: int) -> Tensor:
        for number in range(block, self.last + 1):
            x = self.rest(number, x, self.mixture(number, x, "qk"))
        return self.score(x)

    def attention(self, x: Tensor) -> Tensor:
        """[heads, N, N] of the last block."""
        q, k, _ = self.parts(x)
        scores = [q[:, place] @ k[:, place].T / (WIDTH // HEADS) ** 0.5 for place in self.heads()]
        return torch.stack([one.exp() / one.exp().sum(1, keepdim=True) for one in scores])

    def from_attention(self, x: Tensor, attention: Tensor) -> Tensor:
        v = self.parts(x)[2]
        mixed = [own @ v[:, place] for own, place in zip(attention, self.heads(), strict=True)]
        return self.score(self.rest(self.last, x, torch.cat(mixed, dim=1)))

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        layer = f"transformer.resblocks.{self.last}"
        packed = self.norm(f"{layer}.ln_1", x) @ self.w[f"{layer}.attn.in_proj_weight"].T
        return (packed + self.w[f"{layer}.attn.in_proj_bias"]).split(WIDTH, dim=1)

    def heads(self) -> list[slice]:
        return [slice(start, start + WIDTH // HEADS) for start in range(0, WIDTH, WIDTH // HEADS)]

    def score(self, x: Tensor) -> Tensor:
        pooled = self.project(self.pooled(x))
        return self.vectors @ (pooled / pooled.norm())


def slope(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor, step: float = 1e-5) -> Tensor:
    """The derivative of a function along a direction, by differences."""
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)
