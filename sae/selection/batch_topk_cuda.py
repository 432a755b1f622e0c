"""BatchTopK for one process on CUDA: the choice of `BatchTopK`, without ever waiting for the device.

In: `Preactivations` with a screen, whose scores [n, m] are held in bfloat16 all at once. Out: pairs in arrays of k n
entries each. The cut stays on the device. A search that turns out not to be certain (`kernels.cuda.largest`: a cut too
high, or a shortlist of more than three times what is wanted) is not repeated, which would mean to wait; it is counted,
and corrects the cut for the next batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import SaeConfig, TrainConfig
from ..distributed import Group
from ..kernels import Pattern
from ..kernels.cuda import estimated_cut, largest
from ..objective import gradients
from ..preactivations import Preactivations
from ..weights import Weights
from .rule import Batch, Chosen, Cost, Rule

_CAPACITY = 3
"""Places of a shortlist for each entry that is wanted."""


class BatchTopKOnCuda(Rule):
    """Keeps the k n largest positive pre-activations of a batch of n tokens (fewer if fewer are positive)."""

    revived_size = 1.0
    inexact: Tensor

    def __init__(self, k: int, inexact: Tensor) -> None:
        self.k, self.inexact = k, inexact

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Preactivations, price: float) -> BatchTopKOnCuda:
        """See `Rule`."""
        return cls(config.k, torch.zeros((), dtype=torch.int64, device=first.centred.device))

    @classmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, tensors: dict[str, Tensor]) -> BatchTopKOnCuda:
        """See `Rule`; also from what `BatchTopK` saved."""
        none = torch.zeros((), dtype=torch.int64, device=tensors["silent_tokens"].device)
        return cls(config.k, tensors.get("inexact", none))

    def tensors(self) -> dict[str, Tensor]:
        """How many batches were not certain."""
        return {"inexact": self.inexact}

    def choose(self, pre: Preactivations) -> Chosen:
        """The kept pairs, and some of activation 0 where fewer than k n are positive."""
        (scores, radius), bias = pre.screen(), pre.weights.encoder_bias
        wanted = min(self.k, pre.n_concepts) * pre.n
        cut = estimated_cut(scores, bias, wanted) if self.cut is None else self.cut
        if not isinstance(cut, Tensor):
            cut = bias.new_full((), cut)
        found = largest(scores, radius, pre.centred, pre.weights.encoder, bias, wanted, cut, _CAPACITY * wanted)
        self.cut, self.inexact = found.cut, self.inexact + ~found.exact
        pattern = Pattern(found.offsets, found.concepts, pre.n_concepts)
        return Padded(pattern, found.activations, found.activations, found.activations > 0)

    def gradients(self, batch: Batch, out: Weights) -> Cost:
        """See `Rule`; pairs that are not active have none."""
        active, slopes = batch.chosen.active, batch.result.slopes
        assert active is not None
        gradients(batch.weights, batch.centred, batch.pairs, batch.result, torch.where(active, slopes, 0.0), out)
        return Cost(0.0, {})


class Padded(Chosen):
    """Pairs whose number is known beforehand, active ones and others: what is asked of them stays on the device."""

    def fire(self, silent_tokens: Tensor, everyone: Group) -> tuple[Tensor, Tensor]:
        """See `Chosen`; both [] in float64, `everyone` being this process."""
        assert self.active is not None
        never = torch.iinfo(silent_tokens.dtype).max
        silent_tokens.scatter_reduce_(0, self.pattern.columns.long(), torch.where(self.active, 0, never), "amin")
        smallest = torch.where(self.active, self.activations, torch.inf).min().double()
        return self.active.sum(dtype=torch.float64), torch.where(smallest.isinf(), 0.0, smallest)
