"""Which rationales count as right for a photo that is learnt from."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor

from ..fine_tuned import Batch


def right_rationales(batch: Batch, membership: Bool[Tensor, "C R"]) -> Bool[Tensor, "B R"]:
    """Those that the photo is said to have; where none is said of it, all those of its class in the bank."""
    of_class = membership[batch.labels]
    if batch.concepts is None:
        return of_class
    said = batch.concepts > 0
    return said.where(said.any(1, keepdim=True), of_class)
