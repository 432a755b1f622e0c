"""The weight of a sparsity penalty: given, or adapted until k concepts are active per token."""

from __future__ import annotations

from math import exp, log, nan

import torch
from torch import Tensor

from ..config import TrainConfig

_SLOWEST = 3e-4
_REACH = 10.0
_MEMORY, _LOOK_AHEAD = 4.0, 6.0
_LIMIT = 1.0


class Pressure:
    """λ of a penalty, with k meaning the same as for rules that keep the k largest.

    Each step multiplies λ by exp(rate · off), off being log(L0 / k) as it will be if L0 goes on moving as it does, held
    within ±1: without that look ahead λ overshoots, since L0 follows it only by and by. The slowest rate, 3e-4, is the
    step of Nabeshima's adaptation toward a target L0; a short run has a higher one, so that λ can
    change by a factor of e^10 over any run.
    """

    def __init__(self, train: TrainConfig, first: float) -> None:
        """`first`: λ to start from, where the settings give none."""
        given = train.sparsity_coefficient
        self.coefficient = first if given is None else given
        self._rate = max(_SLOWEST, _REACH / train.steps) if given is None else 0.0
        self._usual = nan

    def adapt(self, l0: float, k: int) -> None:
        """After a step with `l0` active concepts per token, where `k` are wanted."""
        now = log(max(l0, 1e-3) / k)
        if self._usual != self._usual:
            self._usual = now
        self._usual += min(1.0, _MEMORY * self._rate) * (now - self._usual)
        off = now + _LOOK_AHEAD * (now - self._usual)
        moved = self.coefficient * exp(self._rate * max(-_LIMIT, min(_LIMIT, off)))
        if self._rate:  # a number even where k is out of reach for ever
            self.coefficient = max(1e-30, min(1e30, moved))

    def tensor(self) -> Tensor:
        """What `load` takes."""
        return torch.tensor([self.coefficient, self._usual], dtype=torch.float64)

    def load(self, tensor: Tensor) -> None:
        """Go on from where `tensor` was given."""
        self.coefficient, self._usual = tensor.tolist()
