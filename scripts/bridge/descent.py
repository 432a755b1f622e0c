"""Gradient descent on one map, several times with other batches, and the mean of what comes out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from .draws import Draws


def descend(
    loss: Callable[[Tensor, Draws], Tensor], start: Tensor, steps: int, learning_rate: float, runs: int, seed: int
) -> Tensor:
    """The mean of `runs` maps, each trained from `start` by Adam, the rate falling to 0 along a cosine.

    A mean of linear maps is one linear map, and it varies less with the seed than each of them.
    """
    found = torch.zeros_like(start)
    for run in range(runs):
        draws = Draws(seed * runs + run)
        weight = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([weight], lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in tqdm(range(steps), desc=f"run {run + 1} of {runs}", unit="step"):
            optimiser.zero_grad()
            loss(weight, draws).backward()
            optimiser.step()
            schedule.step()
        found += weight.detach() / runs
    return found
