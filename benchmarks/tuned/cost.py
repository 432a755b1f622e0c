"""Seconds of a training step of DEAL over one of plain fine-tuning, on a tower of random weights: rows."""

from __future__ import annotations

import time
from typing import Any

import torch

import insight.backbones
from benchmarks.record import mean_interval
from benchmarks.tuned.settings import COST_BATCH, COST_TOWER, DRAW
from insight.methods import Batch
from insight.methods.bank import shipped_bank
from insight.methods.deal import Deal, DealSettings


def cost_rows(rounds: int, tower: str = COST_TOWER, batch: int = COST_BATCH) -> list[dict[str, Any]]:
    """Ratios of forward, losses and backward, taken in turns; with all blocks trained and with the last two."""
    backbone = insight.backbones.load(tower)
    bank = shipped_bank("cifar10")
    side = backbone.image_size
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(DRAW))
    labels = torch.arange(batch) % len(bank.classes)
    rows = []
    for blocks in (None, 2):
        full = Deal(backbone, bank, DealSettings(blocks=blocks))
        plain = Deal(backbone, bank, DealSettings(blocks=blocks, separation=0.0, consistency=0.0))
        kept = full.tower.keep(images)
        for method in (full, plain):
            _step(method, kept, labels)  # the first is slow
        ratios = [_step(full, kept, labels) / _step(plain, kept, labels) for _ in range(rounds)]
        rows.append(
            {
                "part": "cost",
                "data": f"{batch} photographs, 5 concepts each",
                "images": batch,
                "by": f"deal on {tower}, {'all blocks' if blocks is None else f'the last {blocks} blocks'} trained",
                "figure": "seconds of a step over those of plain fine-tuning",
                "against": None,
                "value": sum(ratios) / len(ratios),
                "interval": mean_interval(ratios) if len(ratios) > 1 else None,
                "each": ratios,
            }
        )
    return rows


def _step(method: Deal, kept: torch.Tensor, labels: torch.Tensor) -> float:
    batch = Batch(kept, labels, None, torch.Generator())
    start = time.perf_counter()
    torch.stack([*method.losses(batch).values()]).sum().backward()
    method.zero_grad(set_to_none=True)
    return time.perf_counter() - start
