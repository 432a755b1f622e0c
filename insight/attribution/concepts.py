"""The map of a text from the concepts of a photo: how much its patches, as named concepts tell them, are of the text.

In: a concept model, a scorer and photos. Out: maps on the patch grid. It takes one forward pass, one encoding of the
patches and a product with the texts, so it costs hardly more than the forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from .at_rest import at_rest
from .explainer import Explainer
from .scorer import Scorer

if TYPE_CHECKING:
    from ..model import ConceptModel


@dataclass(frozen=True)
class ConceptMaps(Explainer):
    """cos(x̂_p, t) = (Σ_k a_k(p) W_dec[k] · t + b_dec · t) / ‖x̂_p‖, x̂_p what the patch's concepts make of it.

    This is the logit of an open-vocabulary word on a patch as `ConceptSegmenter` has it, times
    the temperature: a sum over the few concepts of each patch, and the share of the bias, which no concept answers for.
    t: the scorer's vectors of its texts.
    """

    model: ConceptModel

    name = "concepts"

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        """From -1 to 1. `InsightError` for a scorer of another backbone than the model's, or without text vectors."""
        from ..model import check_fingerprint

        if scorer.backbone is not self.model.backbone:
            check_fingerprint(scorer.backbone, self.model.config)
        if scorer.vectors is None:
            raise InsightError(
                "concepts compares reconstructions with vectors of the texts, and this scorer has none; ask the model,"
                " or its backbone, with the texts"
            )
        with at_rest(scorer.backbone), torch.no_grad():
            features = scorer.backbone.encode_image(images)
            sae = self.model.sae
            seen = sae.decode(sae.encode(features.patches.float().flatten(0, 1)))
            cosines = F.normalize(seen, dim=-1) @ scorer.vectors.to(seen).T
        return cosines.unflatten(0, features.patches.shape[:2]).mT.unflatten(2, features.grid)
