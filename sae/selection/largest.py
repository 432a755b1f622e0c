"""What the two rules that keep the largest pre-activations have in common: nothing to learn, nothing to pay."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from ..codes import SparseCodes
from ..config import SaeConfig, TrainConfig
from ..preactivations import Preactivations
from .rule import Chosen, Rule


class Largest(Rule):
    """Keeps as many of the largest positive pre-activations as `k` says. Also called by itself, for codes."""

    revived_size = 1.0
    """A concept that has to be among the largest comes back at full size only."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.cut: float | None = None

    @abstractmethod
    def __call__(self, pre: Preactivations) -> SparseCodes:
        """Codes [n, m]: the ReLU of the pre-activations, kept or not."""

    def choose(self, pre: Preactivations) -> Chosen:
        """The kept pairs."""
        return Chosen.of(self(pre))

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Preactivations, price: float) -> Largest:
        """See `Rule`."""
        return cls(config.k)

    @classmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, tensors: dict[str, Tensor]) -> Largest:
        """See `Rule`."""
        return cls(config.k)
