"""Grad-CAM: channels of the patches, weighted by what the score gains from them.

In: a scorer and photos. Out: maps on the patch grid. Source: Selvaraju et al., "Grad-CAM" (ICCV 2017), equations 1
and 2; the tokens of a transformer's patches stand for its last convolutional map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError

from ..backbones.guided import Guided
from .at_rest import at_rest
from .explainer import Explainer
from .last_map import encode_with_last_map
from .scorer import Scorer
from .vjp import gradients


@dataclass(frozen=True)
class GradCAM(Explainer):
    """relu(Σ_c w_c z_c(p)), z the patches' tokens and w_c the mean over patches of ∂s/∂z_c; at least 0.

    layer: the tokens that go into this block, counted from 0; None: into the last. Backbones without blocks (ResNets)
    have no layers: z are their dense patches if the scores are made from these, else their last feature map.
    """

    layer: int | None = None

    name = "gradcam"

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        """One backward pass a text. `InsightError` for a layer that is none of the backbone's, and where the scores do
        not depend on z."""
        backbone, grid = scorer.backbone, scorer.backbone.grid_for(images)
        with at_rest(backbone), torch.enable_grad():
            if backbone.depth or self.layer is not None:
                place, scores, n_prefix = *self._at_block(scorer, images), backbone.n_prefix
            else:
                place, scores, n_prefix = *_without_blocks(scorer, images), 0
            z = place.detach()[:, n_prefix:]
            found = []
            for gradient in gradients(scores, place, f"gradcam reads the patches of {backbone.name}"):
                weights = gradient[:, n_prefix:].mean(1, keepdim=True)
                found.append((weights * z).sum(2).relu().unflatten(1, grid))
        return torch.stack(found, dim=1)

    def _at_block(self, scorer: Scorer, images: Tensor) -> tuple[Float[Tensor, "B N width"], Float[Tensor, "B T"]]:
        """The tokens that go into the layer, and the scores made from them."""
        backbone = scorer.backbone
        layer = backbone.depth - 1 if self.layer is None else self.layer
        with torch.no_grad():
            z = backbone.prefix(images, layer)
        z = z.detach().requires_grad_()
        features, _ = backbone.suffix(z, layer, grid=backbone.grid_for(images))
        return z, scorer.score(features)


def _without_blocks(scorer: Scorer, images: Tensor) -> tuple[Float[Tensor, "B h*w C"], Float[Tensor, "B T"]]:
    """Patches or last feature map, whichever the scores are made from, and the scores."""
    features, last = encode_with_last_map(scorer.backbone, images)
    scores = scorer.score(features)
    if features.patches.requires_grad and scores.requires_grad:
        (used,) = torch.autograd.grad(scores.sum(), features.patches, retain_graph=True, allow_unused=True)
        if used is not None:
            return features.patches, scores
    if isinstance(scorer.backbone, Guided):  # its last map may be of its guide, or of the very first layer
        raise InsightError(
            f"gradcam: backbone {scorer.backbone.name} has no blocks to cut at, and its scores are not made from its"
            f" patches; use {scorer.backbone.base.name}"
        )
    return (features.patches if last is None else last), scores
