"""A second chance for dead concepts: what they could explain of the error that the living leave (AuxK).

    L_aux = coefficient · mean_B ‖r - r̂‖² / mean_B ‖r - mean_B r‖²

r = x - x̂ of the whole dictionary, held constant; r̂ is what the d/2 strongest dead latents of each token make of it
(arXiv 2406.04093, appendix A.2). Only the dead columns are touched. They are dense, and where
the encode product is screened in bfloat16, so are their products, with float32 sums: this gradient need only point the
right way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .distributed import ALONE, Ranks
from .distributed.slices import keep_largest_of_slices
from .objective import spread
from .preactivations import Preactivations
from .weights import Weights


def add_auxiliary(
    pre: Preactivations,
    residual: Tensor,
    dead: Tensor,
    coefficient: float,
    gradients: Weights,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Add the auxiliary loss's gradients to `gradients` in place and return its weighted value [].

    residual = x̂ - x [n, d], overwritten; `dead`: int64 [n_dead] concepts. A residual that is the same for every token
    leaves nothing to explain: no loss, no gradient.
    """
    if ranks.concepts.count(len(dead)) == 0:
        return residual.new_zeros(())
    deviation = spread(residual, ranks.tokens)
    latents = pre.columns(dead).relu_()
    keep_largest_of_slices(latents, max(1, residual.shape[1] // 2), ranks.concepts)
    decoder = pre.weights.decoder[dead].to(latents.dtype)
    error = residual.add_(ranks.concepts.sum_(latents @ decoder))
    scale = torch.where(deviation.isnan(), 0.0, coefficient / (deviation * len(residual)))
    loss = scale * torch.linalg.vector_norm(error).square()
    upstream, twice = error.to(latents.dtype), 2 * scale  # scaled where it is small: in the gradients
    of_latents = torch.ops.aten.threshold_backward(upstream @ decoder.t(), latents, 0)  # the ReLU's
    of_bias = of_latents.sum(0, dtype=residual.dtype).mul_(twice)
    gradients.decoder.index_add_(0, dead, (latents.t() @ upstream).to(residual.dtype).mul_(twice))
    gradients.encoder.index_add_(0, dead, (of_latents.t() @ pre.operand).to(residual.dtype).mul_(twice))
    gradients.encoder_bias.index_add_(0, dead, of_bias)
    gradients.decoder_bias.sub_(ranks.concepts.sum_(of_bias @ pre.weights.encoder[dead]))
    return loss
