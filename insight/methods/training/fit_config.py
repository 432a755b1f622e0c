"""How a method is trained, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sae.errors import InsightError

Optimiser = Literal["adamw", "sgd"]


@dataclass(frozen=True)
class FitConfig:
    """epochs: passes over the photos; batch_size: photos a step; lr: the largest step size, reached after `warmup` (a
    share of all steps) and falling to 0 by a cosine; clip: largest norm of the gradient; seed: of order and noise."""

    epochs: int = 20
    batch_size: int = 32
    lr: float = 1e-3
    optimiser: Optimiser = "adamw"
    weight_decay: float = 0.0
    warmup: float = 0.05
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {what}, found {getattr(self, name)}"
            for name, right, what in (
                ("epochs", self.epochs >= 1, "of 1 or more"),
                ("batch_size", self.batch_size >= 1, "of 1 or more"),
                ("lr", self.lr > 0, "above 0"),
                ("optimiser", self.optimiser in get_args(Optimiser), f"one of {', '.join(get_args(Optimiser))}"),
                ("weight_decay", self.weight_decay >= 0, "of 0 or more"),
                ("warmup", 0 <= self.warmup < 1, "from 0 up to 1"),
                ("clip", self.clip > 0, "above 0"),
            )
            if not right
        ]
        if wrong:
            raise InsightError(f"fit: expected {wrong[0]}")
