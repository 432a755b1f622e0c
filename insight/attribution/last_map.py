"""The last feature map of a network without transformer blocks, as rows that scores can be differentiated by."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..backbones import Backbone, DenseFeatures


def encode_with_last_map(
    backbone: Backbone, images: Float[Tensor, "B 3 H W"]
) -> tuple[DenseFeatures, Float[Tensor, "B h*w C"] | None]:
    """`encode_image`, and the last map on the grid of patches that a module of the backbone gave on the way.

    What comes later is computed from these very rows, so gradients reach them; what comes before them keeps no graph.
    None where no module gave such a map.
    """
    grid = backbone.grid_for(images)
    last: list[Tensor] = []

    def catch(module: nn.Module, args: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor) or output.ndim != 4 or len(output) != len(images):
            return None
        channels_last = tuple(output.shape[1:3]) == grid
        if not channels_last and tuple(output.shape[2:]) != grid:
            return None
        rows = (output.flatten(1, 2) if channels_last else output.flatten(2).mT).detach().requires_grad_()
        last[:] = [rows]
        # A copy: modules that change their input in place must not change the rows.
        return rows.unflatten(1, grid).clone() if channels_last else rows.mT.unflatten(2, grid).clone()

    hooks = [module.register_forward_hook(catch) for module in backbone.modules() if module is not backbone]
    try:
        with torch.enable_grad():
            features = backbone.encode_image(images.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    return features, last[0] if last else None
