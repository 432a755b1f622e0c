"""open_clip's ResNet towers (CLIP's RN50 and kin): a convolutional network whose last map is pooled by attention.

Dense patches as in MaskCLIP (arXiv 2112.01071), whose first form this is: every position of the last feature map
through the pooling's value and output projections. The pooling adds its positional embedding before it projects; the
published dense form does not, so that a patch is not shifted by where it lies, and neither do we. `pooled` is the
model's own image vector, with positions; for photos of another size they are resized bicubically.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..base import DenseFeatures
from .model import OpenClipModel, resized_positions

PATCH = 32  # pixels from one position of the last map to the next


class ResNetTower(OpenClipModel):
    """A CLIP model whose vision tower is open_clip's ModifiedResNet: no blocks to cut at."""

    patch = PATCH
    depth = width = n_prefix = 0
    has_class_token = False

    def __init__(self, name: str, model: Any, tokenizer: Any, way: str = "value") -> None:
        super().__init__(name, model, tokenizer, way)
        self.description = f"{self.description.rstrip('.')}; patches: each through the pooling's value path."
        side = self.image_size // PATCH
        self.grid = (side, side)
        self.dim = model.visual.attnpool.c_proj.out_features

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        visual = self.model.visual
        features = visual.stem(self.normalise_colours(images))
        for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            features = stage(features)
        cells = features.flatten(2).mT
        pool, grid = visual.attnpool, self.grid_for(images)
        patches = pool.c_proj(pool.v_proj(cells))
        return DenseFeatures(patches, self._pool(cells, grid), grid)

    def _pool(self, cells: Tensor, grid: tuple[int, int]) -> Tensor:
        """The image vector [B, dim] of the positions [B, h*w, channels]: their mean asks, mean and positions answer."""
        pool = self.model.visual.attnpool
        positions = resized_positions(pool.positional_embedding, self.grid, grid)
        tokens = torch.cat([cells.mean(1, keepdim=True), cells], dim=1) + positions
        q, k, v = (
            projection(part).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
            for projection, part in ((pool.q_proj, tokens[:, :1]), (pool.k_proj, tokens), (pool.v_proj, tokens))
        )
        return pool.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))
