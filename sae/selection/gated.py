"""Gated: one path says which concepts are active, the other how strongly; they share directions (arXiv 2404.16014)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import SaeConfig, TrainConfig
from ..objective import NestedLoss, gradients
from ..preactivations import Preactivations
from ..weights import Weights
from .pressure import Pressure
from .relu import started_sparse
from .rule import Batch, Chosen, Cost, Rule, sums
from .threshold import above_threshold


class Gated(Rule):
    """With u = (x - b_dec) W_encᵀ + b_gate, the encoder's bias being b_gate,

        a = 1[u > 0] · ReLU(e^r (u - b_gate) + b_mag)
        L = reconstruction(a) + λ mean_B Σ ReLU(u) + reconstruction(ReLU(u)) by the decoder held constant

    The last term, of all nested levels like the first, is what teaches the gate. Saved as the JumpReLU that it is: the
    gate is open where the magnitude's path is above θ = b_mag - e^r b_gate.
    """

    def __init__(
        self, k: int, train: TrainConfig, log_gain: Tensor, magnitude_bias: Tensor, coefficient: float
    ) -> None:
        self.k, self._pressure = k, Pressure(train, coefficient)
        self._log_gain, self._magnitude_bias = log_gain, magnitude_bias
        self._by_gate: NestedLoss | None = None

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Preactivations, price: float) -> Gated:
        """r = 0 and b_mag = 0; λ starts as for `Relu`."""
        k, log_gain = train.annealed_k(0, config.k), first.centred.new_zeros(first.n_concepts)
        return cls(k, train, log_gain, log_gain.clone(), 0.4 * price * started_sparse(k, train, first))

    @classmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, tensors: dict[str, Tensor]) -> Gated:
        """See `Rule`."""
        rule = cls(config.k, train, tensors["log_gain"], tensors["magnitude_bias"], 0.0)
        rule._pressure.load(tensors["pressure"])
        return rule

    @property
    def parameters(self) -> dict[str, Tensor]:
        """r [m] and b_mag [m]."""
        return {"log_gain": self._log_gain, "magnitude_bias": self._magnitude_bias}

    def tensors(self) -> dict[str, Tensor]:
        """Of λ."""
        return {"pressure": self._pressure.tensor()}

    def choose(self, pre: Preactivations) -> Chosen:
        """Pairs with an open gate; active are those with a positive magnitude."""
        gate = Chosen.of(above_threshold(pre, pre.centred.new_zeros(())))
        concepts = gate.pattern.columns
        without_bias = gate.preactivations - pre.weights.encoder_bias[concepts]
        magnitude = self._log_gain.exp()[concepts] * without_bias + self._magnitude_bias[concepts]
        return gate._replace(activations=magnitude.relu(), active=magnitude > 0)

    def gradients(self, batch: Batch, out: Weights) -> Cost:
        """See `Rule`."""
        weights, centred, chosen, pairs, loss, result = batch
        assert chosen.active is not None
        concepts, m = chosen.pattern.columns, len(weights.encoder)
        share = self._pressure.coefficient / len(centred)
        self._by_gate = self._by_gate or NestedLoss(loss.level_weights, loss.ranks, normalised=loss.normalised)
        by_gate = self._by_gate(weights, centred, pairs._replace(activations=chosen.preactivations))
        of_magnitude = torch.where(chosen.active, result.slopes, 0.0)
        through_gain = of_magnitude * self._log_gain.exp()[concepts]
        gradients(weights, centred, pairs, result, through_gain + by_gate.slopes + share, out)
        out.encoder_bias.sub_(sums(through_gain, concepts, m))  # b_gate is no part of the magnitude
        gain = of_magnitude * (chosen.activations - self._magnitude_bias[concepts])
        own = {"log_gain": sums(gain, concepts, m), "magnitude_bias": sums(of_magnitude, concepts, m)}
        return Cost(by_gate.loss + share * chosen.preactivations.sum(), own)

    def adapt(self, l0: float | Tensor) -> None:
        """See `Rule`."""
        self._pressure.adapt(float(l0), self.k)

    def revive(self, concepts: Tensor) -> None:
        """Gain 1, no bias."""
        self._log_gain[concepts] = 0.0
        self._magnitude_bias[concepts] = 0.0

    def trained(self, weights: Weights, smallest: Tensor) -> tuple[Weights, Tensor]:
        """The exactly equal JumpReLU: encoder e^r W_enc, bias b_mag, thresholds [m]."""
        gain = self._log_gain.exp()
        encoder, bias = gain.unsqueeze(1) * weights.encoder, self._magnitude_bias
        return weights._replace(encoder=encoder, encoder_bias=bias), bias - gain * weights.encoder_bias
