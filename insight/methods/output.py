"""What every method says of a batch of photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Output:
    """Of B photos, C classes and R concepts.

    logits: softmax over them gives the probabilities of the classes; concept_scores: how strongly each concept of the
    bank is there, in the method's own units (None: the method knows no concepts); extras: what only this method has, by
    name. Where a class or a concept stands is what explainers say, of any method: `insight.attribution`.
    """

    logits: Float[Tensor, "B C"]
    concept_scores: Float[Tensor, "B R"] | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
