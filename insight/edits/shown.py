"""What is shown of codes and scores after edits: merged concepts as one, hidden ones not at all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sae import SparseCodes

from ..concept import Concept


def shown_as(concepts: Sequence[Concept]) -> Int64[Tensor, " m"]:
    """The concept that each is shown as: itself, the one it was merged into, or −1 where that is hidden."""
    target = torch.tensor([c.id if c.merged_into is None else c.merged_into for c in concepts], dtype=torch.int64)
    hidden = torch.tensor([concept.hidden for concept in concepts], dtype=torch.bool)
    return torch.where(hidden[target], -1, target)


def shown_codes(codes: SparseCodes, shown: Int64[Tensor, " m"]) -> SparseCodes:
    """The codes of what is shown: on each token the largest activation of those that are shown as one concept."""
    if bool((shown == torch.arange(len(shown))).all()):
        return codes
    target = shown.to(codes.device)[codes.concepts.long()]
    kept = target >= 0
    cells, cell = torch.unique(codes.rows()[kept] * codes.n_concepts + target[kept], return_inverse=True)
    largest = codes.activations.new_zeros(len(cells)).scatter_reduce(0, cell, codes.activations[kept], "amax")
    rows = torch.div(cells, codes.n_concepts, rounding_mode="floor")
    return SparseCodes.from_entries(rows, cells - rows * codes.n_concepts, largest, codes.n, codes.n_concepts)


def shown_scores(scores: Float[Tensor, " m"], shown: Int64[Tensor, " m"]) -> Float[Tensor, " m"]:
    """The scores of what is shown: the largest of those that are shown as one concept; −inf for what is not shown."""
    kept = shown >= 0
    lowest = torch.full_like(scores, -torch.inf)
    return lowest.scatter_reduce(0, shown[kept], scores[kept], "amax")
