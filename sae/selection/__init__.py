"""Which latents stay on: rules of selection, one a file. All ask `Preactivations` for pairs above a floor and see
nothing of size [n, m]."""

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
]
