"""M2IB as its published code runs it, for the clock: one pair at a time, both towers in full at every step.

In: an open_clip model, a photo, texts. Out: seconds. `frozen`: without gradients of the weights, which the published
code computes and throws away.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from insight.backbones import Backbone

BETA, START = 0.1, 5.0


def seconds_of_whole(
    backbone: Backbone, image: Tensor, texts: list[str], layer: int, steps: int, samples: int, frozen: bool
) -> float:
    """Wall time of the maps of a photo [3, S, S] for each text, one after the other."""
    model: Any = backbone.model  # type: ignore[attr-defined]
    before = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(not frozen)
    start = time.perf_counter()
    try:
        for text in texts:
            photos = backbone.normalise_colours(image[None]).expand(samples, -1, -1, -1)
            _one(model, photos, backbone.tokenizer([text]).expand(samples, -1), layer, steps)  # type: ignore[attr-defined]
    finally:
        for parameter, wanted in zip(model.parameters(), before, strict=True):
            parameter.requires_grad_(wanted)
            parameter.grad = None
    return time.perf_counter() - start


def _one(model: Any, pixels: Tensor, ids: Tensor, layer: int, steps: int) -> None:
    alpha: Tensor | None = None
    optimiser: torch.optim.Adam | None = None
    information = torch.zeros(())

    def bottleneck(module: Any, inputs: Any, output: Tensor) -> Tensor:
        nonlocal alpha, optimiser, information
        if alpha is None:
            alpha = torch.full_like(output[:1], START).requires_grad_()
            optimiser = torch.optim.Adam([alpha], lr=1.0)
        share = alpha.sigmoid().clamp(max=1 - 1e-4)
        information = -0.5 * (1 + 2 * (1 - share).log() - (share * output) ** 2 - (1 - share) ** 2)
        return share * output + (1 - share) * torch.randn_like(output)

    hook = model.visual.transformer.resblocks[layer].register_forward_hook(bottleneck)
    try:
        for _ in range(steps):
            image = model.encode_image(pixels, normalize=True)
            text = model.encode_text(ids, normalize=True)
            loss = BETA * information.mean() - (image * text).sum(1).mean()
            assert optimiser is not None
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    finally:
        hook.remove()
