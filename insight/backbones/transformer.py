"""A vision transformer as a `Backbone`: a family writes three steps, and all ways of running it are written here once.

The steps are `embed` (photos to tokens), `run` (some blocks) and `finish` (the last block and the head). Photos may be
of any size that is made of whole patches; `encode_mixed` takes photos of different sizes in one pass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import Backbone, DenseFeatures


class Transformer(Backbone):
    """Sub-classes set `depth` (of at least one block), `width`, `n_prefix`, `patch`, and write the three steps.

    A mask [B, N] of bools says which tokens are real; the others, which come last, are attended to by nobody.
    """

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList | nn.Sequential:
        """The blocks, in their order: what fine-tuning trains or puts adapters into."""

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Tokens [B, n_prefix + h*w, width] that go into block 0, of checked photos [B, 3, H, W] in [0, 1]."""

    @abstractmethod
    def run(
        self, z: Tensor, block: int, to: int, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens [B, N, width] after blocks `block` to `to` - 1, `block` <= `to` < depth.

        need_attention: also the attention probabilities [B, heads, N, N] of block `to` - 1, the very tensor that the
        output was computed from; asked only without a mask and with `block` < `to`.
        """

    @abstractmethod
    def finish(
        self, z: Tensor, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """From the tokens that go into the last block: patches [B, N - n_prefix, dim], pooled [B, dim], attention.

        need_attention: the last block's attention, as of `run`, asked only without a mask. What stands in the places of
        tokens that are not real is left to the family; `pooled` must not depend on them.
        """

    def placing(self, z: Tensor, grids: Sequence[tuple[int, int]] | None) -> dict[str, Any]:
        """What `run` and `finish` must also be told about photos of these grids (None: square), as keywords.

        Nothing, where `embed` adds the positions. Families whose blocks turn positions into queries and keys (rotary)
        give their embedding here. z: the tokens [B, N, width] of the photos; one grid for all of them or one for each.
        """
        return {}

    def encode_image(self, images: Tensor) -> DenseFeatures:
        return self.suffix(self.prefix(images, 0), 0, grid=self.grid_for(images))[0]

    def encode_mixed(self, images: Sequence[Tensor]) -> list[DenseFeatures]:
        if len({image.shape for image in images}) < 2:
            return super().encode_mixed(images)
        for image in images:
            self.check_images(image[None])
        embedded = [self.embed(image[None])[0] for image in images]
        z = torch.nn.utils.rnn.pad_sequence(embedded, batch_first=True)
        lengths = torch.tensor([len(tokens) for tokens in embedded], device=z.device)
        mask = torch.arange(z.shape[1], device=z.device) < lengths[:, None]
        grids = [self.grid_for(image[None]) for image in images]
        placing = self.placing(z, grids)
        z, _ = self.run(z, 0, self.depth - 1, mask, **placing)
        patches, pooled, _ = self.finish(z, mask, **placing)
        return [DenseFeatures(patches[i : i + 1, : h * w], pooled[i : i + 1], (h, w)) for i, (h, w) in enumerate(grids)]

    def prefix(self, images: Tensor, block: int) -> Tensor:
        self.check_block(block)
        self.check_images(images)
        z = self.embed(images)
        return self.run(z, 0, block, **self.placing(z, [self.grid_for(images)]))[0]

    def between(
        self, z: Tensor, block: int, to: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        self.check_span(block, to)
        return self.run(z, block, to, need_attention=need_attention, **self.placing(z, grid and [grid]))

    def suffix(
        self, z: Tensor, block: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[DenseFeatures, Tensor | None]:
        self.check_block(block)
        placing = self.placing(z, grid and [grid])
        z, _ = self.run(z, block, self.depth - 1, **placing)
        patches, pooled, attention = self.finish(z, need_attention=need_attention, **placing)
        return DenseFeatures(patches, pooled, self.grid_of(patches.shape[1], grid)), attention
