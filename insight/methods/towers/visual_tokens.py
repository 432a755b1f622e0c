"""Learnt visual tokens: some tokens of no photo that stand between the prefix tokens and the patches.

A `Transformer` goes in, a `Transformer` with more prefix tokens comes out. Source: the shallow visual prompts of VPT
(Jia et al., ECCV 2022), as Why Prompt (Mao et al., CVPR 2023) has them. Unlike there, they are taken out again before
the last block: so whatever an encoder pools (all patches, in `small` and SigLIP) is of the photo alone, and the dense
patches are made as ever. In a tower that pools its class token, that token reads the learnt ones in every block but
the last.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sae.errors import InsightError

from ...backbones import Backbone, DenseFeatures, Transformer
from ...backbones.base import fingerprint_of, hash_tensors
from ...backbones.text_towers import TextTower
from .tower import TunedTower


class VisualTokens(Transformer):
    """`base` with n learnt tokens, the parameter `tokens` [n, width]; drawn as VPT does, by `seed`.

    What goes into any block, the last too, has n prefix tokens more than that of `base`. The last block itself has not,
    and nor has its attention: [B, heads, M, M] with M = `base.n_prefix` + h*w. `InsightError` for less than one token,
    for an encoder of a single block, and for one whose blocks turn positions into queries and keys (rotary), which
    these tokens do not have.
    """

    tokens: nn.Parameter

    def __init__(self, base: Transformer, n: int, seed: int = 0) -> None:
        super().__init__()
        if n < 1:
            raise InsightError(f"visual tokens: expected at least 1, found {n}")
        if base.depth < 2:
            raise InsightError(
                f"backbone {base.name} has a single block, before which learnt tokens are taken out again; use lora"
            )
        height, width = base.grid
        one = torch.zeros(1, base.n_prefix + height * width, base.width).to(base.colour_mean)
        if base.placing(one, None):
            raise InsightError(
                f"backbone {base.name} turns positions into queries and keys (rotary), which learnt tokens do not have;"
                " use adapter lora or blocks, or a tower whose positions are added, as openclip:ViT-B-16/..."
            )
        self.base = base
        self.name, self.description = f"{base.name} +{n} tokens", base.description
        self.dim, self.patch, self.grid, self.image_size = base.dim, base.patch, base.grid, base.image_size
        self.depth, self.width, self.has_class_token = base.depth, base.width, base.has_class_token
        self.n_prefix = base.n_prefix + n
        self.has_text = base.has_text
        self.register_buffer("colour_mean", base.colour_mean, persistent=False)
        self.register_buffer("colour_std", base.colour_std, persistent=False)
        bound = math.sqrt(6 / (3 * base.patch**2 + base.width))
        drawn = torch.rand(n, base.width, generator=torch.Generator().manual_seed(seed))
        self.tokens = nn.Parameter((bound * (2 * drawn - 1)).to(base.colour_mean))

    @property
    def fingerprint(self) -> str:
        """Of `base` and the tokens as they are now."""
        return fingerprint_of([self.base.fingerprint, "visual tokens", hash_tensors({"tokens": self.tokens.data})])

    @property
    def logit_scale(self) -> float:
        return self.base.logit_scale

    @property
    def text_tower(self) -> TextTower:
        return self.base.text_tower

    def encode_text(self, texts: list[str]) -> Tensor:
        return self.base.encode_text(texts)

    @property
    def blocks(self) -> nn.ModuleList | nn.Sequential:
        return self.base.blocks

    def embed(self, images: Tensor) -> Tensor:
        return self.insert(self.base.embed(images))

    def insert(self, z: Float[Tensor, "B M width"]) -> Float[Tensor, "B N width"]:
        """What goes into block 0, from what goes into that of `base`."""
        before = self.base.n_prefix
        return torch.cat([z[:, :before], self.tokens.expand(len(z), -1, -1).to(z.dtype), z[:, before:]], dim=1)

    def run(
        self, z: Tensor, block: int, to: int, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        return self.base.run(z, block, to, mask, need_attention)

    def finish(
        self, z: Tensor, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        mask = None if mask is None else self._without(mask)
        return self.base.finish(self._without(z), mask, need_attention)

    def _without(self, z: Float[Tensor, "B N ..."] | Bool[Tensor, "B N"]) -> Tensor:
        """Tokens, or their mask, without the learnt ones."""
        return torch.cat([z[:, : self.base.n_prefix], z[:, self.n_prefix :]], dim=1)


class TokenTower(TunedTower):
    """The learnt tokens are trained, everything else of the encoder is frozen; the embedded photo is kept."""

    backbone: VisualTokens

    def __init__(self, backbone: Backbone, n: int, seed: int = 0) -> None:
        super().__init__(backbone)
        self.backbone = VisualTokens(self.backbone, n, seed).eval()

    @torch.no_grad()
    def keep(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B M width"]:
        return self.backbone.base.prefix(images, 0)

    def features(self, kept: Float[Tensor, "B M width"]) -> DenseFeatures:
        return self.backbone.suffix(self.backbone.insert(kept), 0)[0]
