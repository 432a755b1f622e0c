"""Which latents stay on: rules of selection, one a file. All ask `Preactivations` for pairs above a floor and see
nothing of size [n, m]."""

import torch
from torch import Tensor

from .. import preactivations
from ..config import Precision, SaeConfig
from ..distributed import Ranks
from .batch_topk import BatchTopK
from .gated import Gated
from .jumprelu import JumpRelu
from .level_topk import LevelTopK
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


def rule_of(config: SaeConfig, precision: Precision, features: Tensor, ranks: Ranks) -> type[Rule]:
    """The class of a rule, for features like these: of BatchTopK the one that never waits, where that can be."""
    if config.level_k:
        return LevelTopK
    on_cuda = features.is_cuda and features.dtype == torch.float32
    fits = config.selection == "batch_topk" and precision == "float32" and on_cuda
    if fits and preactivations.multiplies_bfloat16_fast(features.device) and ranks.everyone.size == 1:
        from .batch_topk_cuda import BatchTopKOnCuda  # it needs triton

        return BatchTopKOnCuda
    return RULES[config.selection]


__all__ = [
    "RULES",
    "Batch",
    "BatchTopK",
    "Chosen",
    "Cost",
    "Gated",
    "JumpRelu",
    "LevelTopK",
    "Relu",
    "Rule",
    "TopK",
    "above_threshold",
    "rule_of",
]
