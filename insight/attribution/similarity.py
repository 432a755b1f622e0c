"""The plainest map of a text: the cosine of each patch with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from .at_rest import at_rest
from .explainer import Explainer
from .scorer import Scorer


@dataclass(frozen=True)
class Similarity(Explainer):
    """cos(patch, text) on the patch grid, from -1 to 1. The score itself is not asked."""

    name = "similarity"

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        """One forward pass for all texts. `InsightError` for a model that has no vectors of its texts."""
        if scorer.vectors is None:
            raise InsightError(
                "similarity compares patches with vectors of the texts, and this model has none; use its backbone, or"
                " an explainer that follows scores, such as relevance"
            )
        with at_rest(scorer.backbone), torch.no_grad():
            features = scorer.backbone.encode_image(images)
            cosines = F.normalize(features.patches, dim=-1) @ scorer.vectors.to(features.patches).T
        return cosines.mT.unflatten(2, features.grid)
