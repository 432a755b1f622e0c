"""Which part of an encoder a method trains, as plain values, and the tower that trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sae.errors import InsightError

from ...backbones import Backbone
from .lora import LoraTower
from .tower import FrozenTower, Tower, TunedTower
from .visual_tokens import TokenTower

Adapter = Literal["none", "tokens", "lora", "blocks"]

RATE_SHARES: dict[Adapter, float] = {"none": 1.0, "tokens": 1.0, "lora": 0.1, "blocks": 0.01}
"""Shares of the learning rate: whole blocks bear a hundredth of what tokens of no photo do."""


@dataclass(frozen=True)
class AdapterSettings:
    """adapter: "none" trains nothing of the encoder; "tokens": `tokens` learnt visual tokens; "lora": adapters of
    `rank` and `alpha` in the last `blocks` blocks; "blocks": the last `blocks` blocks whole. seed: of their start."""

    adapter: Adapter = "tokens"
    tokens: int = 3
    rank: int = 4
    alpha: float = 8.0
    blocks: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.adapter not in get_args(Adapter):
            raise InsightError(f"adapter: expected one of {', '.join(get_args(Adapter))}, found {self.adapter!r}")
        for name in ("tokens", "rank", "blocks"):
            if getattr(self, name) < 1:
                raise InsightError(f"{name}: expected at least 1, found {getattr(self, name)}")
        if not self.alpha > 0:
            raise InsightError(f"alpha: expected a number above 0, found {self.alpha}")


def adapted_tower(backbone: Backbone, settings: AdapterSettings) -> Tower:
    """The tower; `backbone` stays as it was. `InsightError` for an encoder that cannot be adapted so."""
    if settings.adapter == "none":
        return FrozenTower(backbone)
    if settings.adapter == "tokens":
        return TokenTower(backbone, settings.tokens, settings.seed)
    if backbone.depth and settings.blocks > backbone.depth:
        raise InsightError(f"blocks: backbone {backbone.name} has {backbone.depth}, found {settings.blocks}")
    first = max(0, backbone.depth - settings.blocks)
    if settings.adapter == "lora":
        return LoraTower(backbone, first, settings.rank, settings.alpha, settings.seed)
    tower = TunedTower(backbone, first)
    tower.train_blocks()
    return tower
