"""LoRA (Hu et al., ICLR 2022) in the last blocks of a vision transformer, by peft.

A linear layer W x becomes W x + (alpha / rank) B A x with A and B trained, B from zero. Only layers that the blocks
call as modules are adapted: the attention of open_clip's own blocks is computed from its weights alone
(`in_proj_weight`, and `out_proj` in all but some blocks), so that an adapter there would be passed by; of these towers
it is the MLP.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from sae.errors import InsightError

from ...backbones import Backbone, Transformer
from .tower import TunedTower


class LoraTower(TunedTower):
    """`rank`, `alpha`: of every adapter; `seed`: of A. Trained are A and B alone, of all linear layers that the blocks
    from `first` on call. `InsightError` without peft, and for blocks that call no linear layer."""

    def __init__(self, backbone: Backbone, first: int, rank: int = 4, alpha: float = 8.0, seed: int = 0) -> None:
        super().__init__(backbone, first)
        names = linear_layers(self.backbone, first)
        inject, config = _peft()
        wanted = "|".join(map(re.escape, names))  # a pattern: of a list, peft takes whatever ends in its names
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject(config(r=rank, lora_alpha=alpha, target_modules=wanted), self.backbone)
        self.backbone.eval()


def linear_layers(backbone: Transformer, first: int) -> list[str]:
    """Names, in `backbone`, of the linear layers that a photo passes as modules in the blocks from `first` on.

    Found by sending a black photo through. Those inside torch's own attention are left out: whether they are called
    depends on whether somebody asks for the attention.
    """
    inside = {part for part in backbone.modules() if isinstance(part, nn.MultiheadAttention)}
    passed_by = {layer for attention in inside for layer in attention.modules()}
    names = {module: name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}
    layers = [
        module
        for block in backbone.blocks[first:]
        for module in block.modules()
        if isinstance(module, nn.Linear) and module not in passed_by
    ]
    called: set[nn.Module] = set()

    def note(module: nn.Module, args: Any, output: Any) -> None:
        called.add(module)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            backbone.encode_image(_black(backbone))
    finally:
        for hook in hooks:
            hook.remove()
    found = [names[layer] for layer in layers if layer in called]
    if not found:
        raise InsightError(f"backbone {backbone.name} calls no linear layer in its blocks from {first} on; use blocks")
    return found


def _black(backbone: Transformer) -> Tensor:
    side = backbone.image_size
    return torch.zeros(1, 3, side, side, device=backbone.colour_mean.device)


def _peft() -> tuple[Any, Any]:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InsightError(
            "adapter lora: expected the package peft, found none; pip install 'insight-concepts[methods]'"
        ) from None
    return inject_adapter_in_model, LoraConfig
