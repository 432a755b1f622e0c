"""What a rule of selection is to training: a choice of pairs, what the choice costs, and what it learns of its own.

In: the `Preactivations` of a batch, then the reconstruction's gradients. Out: `Chosen` pairs, then the gradients of the
four weights and of the rule's own parameters. A rule sees active pairs only (and those near the edge), never [n, m].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from torch import Tensor

from ..codes import SparseCodes
from ..config import SaeConfig, TrainConfig
from ..distributed import ALONE, Group, Ranks
from ..kernels import Pattern
from ..nested import Pairs
from ..objective import NestedLoss, NestedResult, gradients
from ..preactivations import Preactivations
from ..weights import Weights


class Chosen(NamedTuple):
    """The pairs of a batch that a rule looks at."""

    pattern: Pattern
    """[n, m]"""
    preactivations: Tensor
    """[nnz]: u."""
    activations: Tensor
    """[nnz]; 0 where a pair is not active, but has something to say on the rule's own parameters."""
    active: Tensor | None
    """bool [nnz]; None: all are."""

    @staticmethod
    def of(codes: SparseCodes) -> Chosen:
        """Codes whose activations are their pre-activations."""
        pattern = Pattern(codes.offsets, codes.concepts, codes.n_concepts)
        return Chosen(pattern, codes.activations, codes.activations, None)

    def fire(self, silent_tokens: Tensor, everyone: Group) -> tuple[int | Tensor, float | Tensor]:
        """Set `silent_tokens` [m] of all active concepts to 0; how many pairs of all ranks are active, and the smallest
        activation (0 where there is none), one number or as many as the rule has thresholds."""
        concepts, activations = self.pattern.columns, self.activations
        if self.active is not None:
            concepts, activations = concepts[self.active], activations[self.active]
        silent_tokens[concepts.long()] = 0
        return everyone.count(len(activations)), everyone.smallest(activations) or 0.0


class Batch(NamedTuple):
    """What a step has worked out when a rule is asked for gradients."""

    weights: Weights
    centred: Tensor
    """[n, d]: x - b_dec."""
    chosen: Chosen
    pairs: Pairs
    """Those of `chosen`; in the same order where levels are prefixes."""
    loss: NestedLoss
    result: NestedResult


class Cost(NamedTuple):
    """What a rule adds to the loss."""

    loss: Tensor | float
    """[]"""
    gradients: dict[str, Tensor]
    """Of its own parameters, by name."""


class Rule(ABC):
    """A rule of selection in training. The plain ones have no parameters and no cost; see the methods' defaults."""

    k: int
    """Active concepts per token that are wanted now."""
    cut: float | Tensor | None = None
    """Carried from batch to batch; it spares a search and changes no result. A tensor [] stays on its device."""
    inexact: int | Tensor = 0
    """Of how many batches so far the choice may have been another one than the rule says."""
    ranks: Ranks = ALONE
    """Processes that share a step; the learner says which."""
    step_scales: ClassVar[Mapping[str, float]] = {}
    """Step sizes of own parameters, as multiples of Adam's for the weights (1 where it says nothing)."""

    revived_size: ClassVar[float] = 0.2
    """Norm of a resampled encoder row, as a share of the living ones' (published for ReLU: small, lest it disturb)."""

    @classmethod
    @abstractmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Preactivations, price: float) -> Rule:
        """At step 0. `first` are the pre-activations of the first batch by the first weights; `price` is what a squared
        error of 1 in one token adds to the batch's mean loss, over all levels."""

    @classmethod
    @abstractmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, tensors: dict[str, Tensor]) -> Rule:
        """From its parameters and `tensors`, as they were when saved."""

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What Adam trains beside the weights, changed in place; the first axis of each is m."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """What else a later process needs."""
        return {}

    @abstractmethod
    def choose(self, pre: Preactivations) -> Chosen:
        """The pairs of a batch that are active, or near it."""

    def gradients(self, batch: Batch, out: Weights) -> Cost:
        """Write the gradients of the weights, the rule's cost included, over `out`."""
        slopes, concepts = batch.result.slopes, self.ranks.concepts
        gradients(batch.weights, batch.centred, batch.pairs, batch.result, slopes, out, concepts)
        return Cost(0.0, {})

    def adapt(self, l0: float | Tensor) -> None:  # noqa: B027 (most rules have nothing to adapt)
        """Told how many concepts were active per token in a step."""

    def revive(self, concepts: Tensor) -> None:  # noqa: B027
        """Make own parameters of `concepts`, which start anew at `revived_size`, let them fire."""

    def trained(self, weights: Weights, smallest: Tensor) -> tuple[Weights, Tensor]:
        """Weights and threshold ([] or [m]) of the autoencoder. `smallest`: the averaged smallest kept activation, []
        or as many numbers as `Chosen.fire` gave; [] of -1 where none was measured."""
        return weights, smallest


def sums(values: Tensor, concepts: Tensor, m: int) -> Tensor:
    """[m]: the sum of values [nnz] over the pairs of each concept."""
    return values.new_zeros(m).index_add_(0, concepts, values)
