"""ReLU with an L1 penalty: what is positive is active, and pays for its size."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import SaeConfig, TrainConfig
from ..objective import gradients
from ..preactivations import Preactivations
from ..weights import Weights
from .batch_topk import BatchTopK
from .pressure import Pressure
from .rule import Batch, Chosen, Cost, Rule, sums
from .threshold import above_threshold


class Relu(Rule):
    """Penalty λ mean_B Σ_j a_j ‖W_dec[j]‖: the row's norm is in it lest a smaller activation of a longer row pays less.

    Nested levels share one penalty, on the whole dictionary.
    """

    def __init__(self, k: int, train: TrainConfig, coefficient: float) -> None:
        self.k, self._pressure = k, Pressure(train, coefficient)

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Preactivations, price: float) -> Relu:
        """λ starts at a fifth of what would keep out the concepts that `first_cut` keeps out."""
        k = train.annealed_k(0, config.k)
        return cls(k, train, 0.4 * price * started_sparse(k, train, first))

    @classmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, tensors: dict[str, Tensor]) -> Relu:
        """See `Rule`."""
        rule = cls(config.k, train, 0.0)
        rule._pressure.load(tensors["pressure"])
        return rule

    def tensors(self) -> dict[str, Tensor]:
        """Of λ."""
        return {"pressure": self._pressure.tensor()}

    def choose(self, pre: Preactivations) -> Chosen:
        """All positive pre-activations."""
        return Chosen.of(above_threshold(pre, pre.centred.new_zeros(())))

    def gradients(self, batch: Batch, out: Weights) -> Cost:
        """See `Rule`."""
        weights, centred, chosen, pairs, _, result = batch
        share, concepts = self._pressure.coefficient / len(centred), chosen.pattern.columns
        norms = torch.linalg.vector_norm(weights.decoder, dim=1).clamp_min(1e-12)
        slopes = result.slopes + share * norms.index_select(0, concepts)
        gradients(weights, centred, pairs, result, slopes, out)
        totals = sums(chosen.activations, concepts, len(norms))
        out.decoder.addcmul_(weights.decoder, (share * totals / norms).unsqueeze(1))
        return Cost(share * (totals @ norms), {})

    def adapt(self, l0: float | Tensor) -> None:
        """See `Rule`."""
        self._pressure.adapt(float(l0), self.k)

    def trained(self, weights: Weights, smallest: Tensor) -> tuple[Weights, Tensor]:
        """Threshold 0."""
        return weights, weights.encoder.new_zeros(())


def started_sparse(k: int, train: TrainConfig, first: Preactivations) -> float:
    """`first_cut`, subtracted from the encoder's bias unless λ is given.

    A bias of 0 (published) makes half of all pairs active, which costs as much as a dense step, and leaves them long
    after λ has become what would be right for k.
    """
    cut = first_cut(k, first)
    if train.sparsity_coefficient is None:
        first.weights.encoder_bias.sub_(cut)
    return cut


def first_cut(k: int, first: Preactivations) -> float:
    """The k n-th largest pre-activation of n tokens; 1 where none is positive."""
    codes = BatchTopK(k)(first)
    return float(codes.activations.min()) if codes.nnz else 1.0
