"""A second chance for dead concepts: what they could explain of the error that the living leave (AuxK).

    L_aux = coefficient · mean_B ‖r - r̂‖² / mean_B ‖r - mean_B r‖²

r = x - x̂ of the whole dictionary, held constant; r̂ is what the d/2 strongest dead latents of each token make of it
(arXiv 2406.04093, appendix A.2; specs/insight.md §1.3). Only the dead columns are touched. They are dense, and where
the processor is fast at it their products run in bfloat16 with float32 sums: this gradient need only point the right
way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .kernels import keep_largest
from .objective import spread
from .preactivations import multiplies_bfloat16_fast
from .weights import Weights


def add_auxiliary(
    weights: Weights, centred: Tensor, residual: Tensor, dead: Tensor, coefficient: float, gradients: Weights
) -> Tensor:
    """Add the auxiliary loss's gradients to `gradients` in place and return its weighted value [].

    residual = x̂ - x [n, d]; `dead`: int64 [n_dead] concepts. A residual that is the same for every token leaves nothing
    to explain: no loss, no gradient.
    """
    if len(dead) == 0 or bool((deviation := spread(residual)).isnan()):
        return centred.new_zeros(())
    fast = centred.dtype == torch.float32 and multiplies_bfloat16_fast(centred.device)
    dtype = torch.bfloat16 if fast else centred.dtype
    x, encoder, decoder = centred.to(dtype), weights.encoder[dead].to(dtype), weights.decoder[dead].to(dtype)
    latents = torch.addmm(weights.encoder_bias[dead].to(dtype), x, encoder.t()).relu_().to(centred.dtype)
    keep_largest(latents, max(1, centred.shape[1] // 2))
    active, latents = latents > 0, latents.to(dtype)
    error = residual + latents @ decoder
    scale = coefficient / deviation
    upstream = ((2 * scale) * error).to(dtype)
    of_latents = (upstream @ decoder.t()).mul_(active)
    of_bias = of_latents.sum(0, dtype=centred.dtype)
    gradients.decoder.index_add_(0, dead, (latents.t() @ upstream).to(centred.dtype))
    gradients.encoder.index_add_(0, dead, (of_latents.t() @ x).to(centred.dtype))
    gradients.encoder_bias.index_add_(0, dead, of_bias)
    gradients.decoder_bias.sub_(of_bias @ weights.encoder[dead])
    return scale * torch.linalg.vector_norm(error).square()
