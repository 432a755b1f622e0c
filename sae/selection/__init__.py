"""Which latents stay on: rules of selection, one a file. All ask `Preactivations` for pairs above a floor and see
nothing of size [n, m]."""

import torch
from torch import Tensor

from .. import preactivations
from ..distributed import Ranks
from .batch_topk import BatchTopK
from .gated import Gated
from .jumprelu import JumpRelu
from .relu import Relu
from .rule import Batch, Chosen, Cost, Rule
from .threshold import above_threshold
from .topk import TopK

RULES: dict[str, type[Rule]] = {
    "batch_topk": BatchTopK,
    "topk": TopK,
    "jumprelu": JumpRelu,
    "relu": Relu,
    "gated": Gated,
}
"""By `SaeConfig.selection`."""


def rule_of(selection: str, features: Tensor, ranks: Ranks) -> type[Rule]:
    """The class of a rule, for features like these: of BatchTopK the one that never waits, where that can be."""
    fits = selection == "batch_topk" and features.is_cuda and features.dtype == torch.float32
    if fits and preactivations.multiplies_bfloat16_fast(features.device) and ranks.everyone.size == 1:
        from .batch_topk_cuda import BatchTopKOnCuda  # it needs triton

        return BatchTopKOnCuda
    return RULES[selection]


__all__ = [
    "RULES",
    "Batch",
    "BatchTopK",
    "Chosen",
    "Cost",
    "Gated",
    "JumpRelu",
    "Relu",
    "Rule",
    "TopK",
    "above_threshold",
    "rule_of",
]
