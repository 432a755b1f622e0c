"""An explainer that is wrong on purpose: a measure that does not put it last measures nothing."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from insight.attribution import Explainer, Scorer


@dataclass(frozen=True)
class UpsideDown(Explainer):
    """The map of another explainer, negated: where that one says most, this says least."""

    of: Explainer

    name = "upside down"

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        return -self.of.maps(scorer, images)
