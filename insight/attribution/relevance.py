"""Relevance: attention of the last block, weighted by what the score gains from it.

In: tokens that go into the last block, and a score. Out: maps on the patch grid. One function serves loss, metric and
explainer, so what is trained is what is measured and shown. Source: Chefer et al., "Generic Attention-model
Explainability" (ICCV 2021), of the last layer alone, as DEAL (arXiv 2407.14412) has it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from sae.errors import InsightError

from ..backbones import Backbone, DenseFeatures
from .at_rest import at_rest
from .explainer import Explainer
from .scorer import Scorer
from .vjp import gradients


def relevance_maps(
    backbone: Backbone,
    z: Float[Tensor, "B N width"],
    score: Callable[[DenseFeatures], Float[Tensor, "B T"]],
    n_texts: int,
    grid: tuple[int, int],
    create_graph: bool = False,
) -> Float[Tensor, "B T h w"]:
    """h_t = Σ_q mean_heads relu(G ⊙ A)[q, patches], A the last block's attention [B, heads, N, N] and G = ∂s_t/∂A.

    z: `backbone.prefix(images, backbone.depth - 1)`; score: from features to T = `n_texts` scores, photo by photo.
    A query q that the score does not read has G = 0. In a tower pooled by its class token the sum over q is hence the
    class token's row, as published; in one that is pooled by attention or mean it is what all that is pooled took from
    a patch. `small` pools both, and so does its map: the class token's row and the patches'.

    create_graph: the maps keep their graph to z and to the last block's weights (second order there, first order
    before); else they are detached. The trunk is not run again: each text costs one backward pass of the last block.

    `InsightError` for a backbone without attention, for scores of another shape, and for scores that do not depend on
    the last block's attention (those of dense patches that each pass alone, as `openclip:...`'s own are).
    """
    if backbone.depth < 1:
        raise InsightError(
            f"relevance needs the attention of a last transformer block, and backbone {backbone.name} has no blocks to"
            " cut at; use gradcam or rise"
        )
    if not (create_graph and z.requires_grad):
        z = z.detach().requires_grad_()
    maps = []
    # Fused attention, which poolers may use behind the last block, cannot be differentiated twice.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext():
        features, attention = backbone.suffix(z, backbone.depth - 1, need_attention=True, grid=grid)
        scores = score(features)
        assert attention is not None
        if scores.shape != (len(z), n_texts):
            raise InsightError(f"relevance: expected scores {[len(z), n_texts]}, found {list(scores.shape)}")
        if not _through_attention(features, scores, attention):
            raise InsightError(
                f"relevance: these scores are made from patches of {backbone.name} that its last block's attention did"
                " not mix; use gradcam or rise"
            )
        weights = attention if create_graph else attention.detach()
        what = f"relevance reads the attention of the last block of {backbone.name}"
        for gradient in gradients(scores, attention, what, create_graph):
            maps.append((gradient * weights).relu().mean(1).sum(1)[:, -grid[0] * grid[1] :].unflatten(1, grid))
    return torch.stack(maps, dim=1)


def _through_attention(features: DenseFeatures, scores: Tensor, attention: Tensor) -> bool:
    """False for scores of nothing but patches that each pass the last block alone: their maps would be 0, unsaid."""
    if not scores.requires_grad:
        return True
    (read,) = torch.autograd.grad(scores.sum(), features.pooled, retain_graph=True, allow_unused=True)
    if read is not None:
        return True
    uneven = torch.linspace(0, 1, features.patches.shape[2]).to(features.patches)  # a norm fixes even sums
    mixed = (features.patches * uneven).sum()
    (used,) = torch.autograd.grad(mixed, attention, retain_graph=True, allow_unused=True)
    return used is not None and bool(used.any())


@dataclass(frozen=True)
class Relevance(Explainer):
    """`relevance_maps` of any model's scores, on the patch grid; at least 0."""

    name = "relevance"

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        """As `relevance_maps`, detached; its errors."""
        backbone, grid = scorer.backbone, scorer.backbone.grid_for(images)
        with at_rest(backbone):
            z = images  # of a backbone without blocks, which is refused
            if backbone.depth:
                with torch.no_grad():
                    z = backbone.prefix(images, backbone.depth - 1)
            return relevance_maps(backbone, z, scorer.score, len(scorer.texts), grid)
