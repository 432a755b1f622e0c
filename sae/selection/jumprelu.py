"""JumpReLU: each concept has a threshold, learnt from the pairs near it (arXiv 2407.14435)."""

from __future__ import annotations

from math import log
from typing import ClassVar

import torch
from torch import Tensor

from ..config import SaeConfig, TrainConfig
from ..kernels import Pattern
from ..objective import gradients
from ..preactivations import Preactivations
from ..weights import Weights
from .pressure import Pressure
from .relu import first_cut
from .rule import Batch, Chosen, Cost, Rule, sums


class JumpRelu(Rule):
    """a = u · 1[u > θ], penalty λ mean_B L0. Of a pair within ε/2 of its threshold (a rectangle kernel), θ learns

        ∂a/∂θ = -θ/ε        ∂L0/∂θ = -1/ε

    through log θ, which keeps it positive. θ starts where L0 = k on the first batch, and ε is a share of that, so both
    mean the same for features of any scale. The published penalty has a fixed λ; here it is adapted until L0 = k.

    log θ has a step size of its own: Adam moves a weight by about the step size each step, which for a logarithm is
    that share of θ, and would leave thresholds where they started at the small step sizes that are usual.
    """

    step_scales: ClassVar = {"log_threshold": 5.0}

    def __init__(self, k: int, train: TrainConfig, log_threshold: Tensor, band: float, coefficient: float) -> None:
        self.k, self._pressure, self._band = k, Pressure(train, coefficient), band
        self._log_threshold = log_threshold

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Preactivations, price: float) -> JumpRelu:
        """λ starts at half of what the weakest active pair explains."""
        k = train.annealed_k(0, config.k)
        cut = first_cut(k, first)
        log_threshold = first.centred.new_full([first.n_concepts], log(cut))
        return cls(k, train, log_threshold, train.bandwidth * cut, 0.5 * price * cut**2)

    @classmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, tensors: dict[str, Tensor]) -> JumpRelu:
        """See `Rule`."""
        rule = cls(config.k, train, tensors["log_threshold"], float(tensors["band"]), 0.0)
        rule._pressure.load(tensors["pressure"])
        return rule

    @property
    def parameters(self) -> dict[str, Tensor]:
        """log θ [m]."""
        return {"log_threshold": self._log_threshold}

    def tensors(self) -> dict[str, Tensor]:
        """ε and what is of λ."""
        return {"band": torch.tensor(self._band, dtype=torch.float64), "pressure": self._pressure.tensor()}

    def choose(self, pre: Preactivations) -> Chosen:
        """Pairs above their threshold, and those in the lower half of the band, inactive."""
        threshold = self._log_threshold.exp()
        floor = threshold - self._band / 2
        (offsets, concepts, m), u = pre.above(floor)
        seen = u > floor[concepts]
        before = torch.nn.functional.pad(seen.cumsum(0), (1, 0))
        concepts, u = concepts[seen], u[seen]
        active = u > threshold[concepts]
        return Chosen(Pattern(before[offsets], concepts, m), u, torch.where(active, u, 0.0), active)

    def gradients(self, batch: Batch, out: Weights) -> Cost:
        """See `Rule`."""
        weights, centred, chosen, pairs, _, result = batch
        assert chosen.active is not None
        gradients(weights, centred, pairs, result, torch.where(chosen.active, result.slopes, 0.0), out)
        share, concepts = self._pressure.coefficient / len(centred), chosen.pattern.columns
        threshold = self._log_threshold.exp()
        own = threshold[concepts]
        near = (chosen.preactivations - own).abs() < self._band / 2
        pull = torch.where(near, own * result.slopes + share, 0.0)
        of_log = sums(pull, concepts, len(threshold)).mul_(threshold).div_(-self._band)
        return Cost(share * chosen.active.sum(dtype=centred.dtype), {"log_threshold": of_log})

    def adapt(self, l0: float | Tensor) -> None:
        """See `Rule`."""
        self._pressure.adapt(float(l0), self.k)

    def revive(self, concepts: Tensor) -> None:
        """Thresholds follow the size of their concepts."""
        living = torch.ones_like(self._log_threshold, dtype=torch.bool)
        living[concepts] = False
        middle = self._log_threshold[living].mean() if bool(living.any()) else self._log_threshold.mean()
        self._log_threshold[concepts] = middle + log(self.revived_size)

    def trained(self, weights: Weights, smallest: Tensor) -> tuple[Weights, Tensor]:
        """Thresholds [m]."""
        return weights, self._log_threshold.exp()
