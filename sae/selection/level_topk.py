"""BatchTopK level by level: every level of the dictionary has a share of the active concepts of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..config import SaeConfig, TrainConfig
from ..distributed import Group
from ..preactivations import Preactivations
from ..weights import Weights
from .batch_topk import BatchTopK
from .largest import Largest
from .rule import Chosen


class LevelTopK(Largest):
    """Keeps, of the concepts that level l adds, the k_l n largest positive pre-activations of a batch of n tokens.

    With one budget for all levels the coarsest takes most of it: nested losses reward a concept the more, the more
    reconstructions it is part of, and a few concepts that are active nearly everywhere are a basis, not things. Each
    level has its own threshold afterwards, the averaged smallest activation that was kept of it.
    """

    def __init__(self, config: SaeConfig) -> None:
        super().__init__(config.k)
        self._levels = config.levels
        self._rules = [BatchTopK(k) for k in config.level_k]

    @classmethod
    def start(cls, config: SaeConfig, train: TrainConfig, first: Preactivations, price: float) -> LevelTopK:
        """See `Rule`."""
        return cls(config)

    @classmethod
    def restore(cls, config: SaeConfig, train: TrainConfig, tensors: dict[str, Tensor]) -> LevelTopK:
        """See `Rule`."""
        return cls(config)

    def __call__(self, pre: Preactivations) -> SparseCodes:
        """Codes [n, m]: the ReLU of the pre-activations, kept or not."""
        parts, begin = [], 0
        for rule, end in zip(self._rules, self._levels, strict=True):
            rule.ranks = self.ranks
            parts.append(rule(pre.of(slice(begin, end))))
            begin = end
        return _side_by_side(parts)

    def choose(self, pre: Preactivations) -> Chosen:
        """See `Rule`."""
        chosen = OfLevels(*Chosen.of(self(pre)))
        chosen.smallest = torch.tensor([rule.edge or 0.0 for rule in self._rules], dtype=torch.float64)
        return chosen

    def trained(self, weights: Weights, smallest: Tensor) -> tuple[Weights, Tensor]:
        """Weights and threshold [m], from the averaged smallest activation of each level [G]."""
        sizes = torch.tensor(self._levels).diff(prepend=torch.zeros(1, dtype=torch.int64))
        return weights, smallest.expand(len(sizes)).repeat_interleave(sizes)


class OfLevels(Chosen):
    """Pairs of which the smallest activation is told level by level."""

    smallest: Tensor
    """[G], of all ranks; 0 where a level has none."""

    def fire(self, silent_tokens: Tensor, everyone: Group) -> tuple[int | Tensor, Tensor]:
        """See `Chosen`; smallest activations [G]."""
        return super().fire(silent_tokens, everyone)[0], self.smallest


def _side_by_side(parts: list[SparseCodes]) -> SparseCodes:
    """Codes of the same rows over the concepts of all parts, one part's after the other's."""
    begins = torch.tensor([0, *(part.n_concepts for part in parts)]).cumsum(0).tolist()
    order = torch.argsort(torch.cat([part.rows() for part in parts]), stable=True)
    concepts = torch.cat([part.concepts + begin for part, begin in zip(parts, begins)])
    activations = torch.cat([part.activations for part in parts])
    offsets = torch.stack([part.offsets for part in parts]).sum(0)
    return SparseCodes(offsets, concepts[order], activations[order], begins[-1])
