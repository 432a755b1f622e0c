"""What training minimises, with gradients written out: nested reconstruction, and a second chance for dead concepts.

In: weights, a batch centred on the decoder bias, and the codes chosen for it. Out: losses and gradients of all four
weights. Only the encode product is dense; every gradient touches active pairs alone (the auxiliary one, dead columns).

With G levels, x̂_l = b_dec + Σ a_j W_dec[j] over the first `levels[l]` concepts, the published loss is

    L = 1/G² Σ_l mean_B ‖x - x̂_l‖²  +  coefficient · mean_B ‖r - r̂‖² / mean_B ‖r - mean_B r‖²

(its code takes the mean over levels of errors already weighted by 1/G). r = x - x̂ of the whole dictionary, held
constant; r̂ is what the d/2 strongest dead latents make of it. Which pairs are active is held constant too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .codes import SparseCodes
from .kernels import add_product, sampled
from .nested import LevelPairs, add_reconstructions, by_concept, split_levels


class Weights(NamedTuple):
    """The four weights of an autoencoder, or one gradient for each."""

    encoder: Tensor
    """[m, d]"""
    decoder: Tensor
    """[m, d], unit rows"""
    encoder_bias: Tensor
    """[m]"""
    decoder_bias: Tensor
    """[d]"""


class NestedResult(NamedTuple):
    """Value and gradients of the nested reconstruction loss of one batch."""

    loss: Tensor
    """[]: 1/G² Σ_l mean_B ‖x - x̂_l‖²."""
    fvu: Tensor
    """[G]: variance left unexplained by each level, as a share of the batch's (NaN where the batch does not vary)."""
    residual: Tensor
    """[n, d]: x̂ - x of the last level. Overwritten by the next batch."""
    gradients: Weights


def preactivations(weights: Weights, centred: Tensor, out: Tensor | None = None) -> Tensor:
    """[n, m]: (x - b_dec) W_encᵀ + b_enc for `centred` = x - b_dec [n, d]; the one dense product of a step."""
    return torch.addmm(weights.encoder_bias, centred, weights.encoder.t(), out=out)


class NestedLoss:
    """The nested reconstruction loss. Holds one work array [G, n, d], because fresh memory costs more than the sums."""

    def __init__(self, levels: Sequence[int]) -> None:
        self.levels = tuple(levels)
        self._residuals: Tensor | None = None

    def __call__(self, weights: Weights, centred: Tensor, codes: SparseCodes) -> NestedResult:
        """Loss and gradients for `centred` = x - b_dec [n, d] and its codes [n, m]."""
        n, n_levels = len(centred), len(self.levels)
        residuals = self._work_array(centred)
        torch.neg(centred, out=residuals[0])
        pairs = split_levels(codes, self.levels)
        add_reconstructions(pairs, weights.decoder, residuals)

        squares = torch.linalg.vector_norm(residuals.view(n_levels, -1), dim=1).square()
        sums = residuals.sum(1)
        fvu = (squares - sums.square().sum(1) / n) / _spread(centred)
        scale = 2 / (n * n_levels**2)
        # A pair of level l is in every reconstruction from l on, so its gradient needs the sum of their residuals.
        for level in range(n_levels - 1, 0, -1):
            residuals[level - 1].add_(residuals[level])
        gradients = _sparse_gradients(weights, centred, pairs, residuals, scale)
        gradients.decoder_bias.copy_(scale * sums.sum(0) - gradients.encoder_bias @ weights.encoder)
        return NestedResult(squares.sum() / (n * n_levels**2), fvu, residuals[-1], gradients)

    def _work_array(self, centred: Tensor) -> Tensor:
        shape, held = (len(self.levels), *centred.shape), self._residuals
        if held is None or held.shape != shape or held.dtype != centred.dtype or held.device != centred.device:
            held = self._residuals = centred.new_empty(shape)
        return held


def _spread(rows: Tensor) -> Tensor:
    """[]: summed squared deviation of rows [n, d] from their mean; NaN where it is no more than rounding."""
    squares = torch.linalg.vector_norm(rows).square()
    spread = squares - rows.sum(0).square().sum() / len(rows)
    return torch.where(spread > 4 * torch.finfo(rows.dtype).eps * squares, spread, torch.nan)


def _sparse_gradients(
    weights: Weights, centred: Tensor, pairs: Sequence[LevelPairs], upstream: Tensor, scale: float
) -> Weights:
    """Gradients of encoder, decoder and encoder bias; upstream [G, n, d] times `scale` is that of each level's part."""
    gradients = Weights(*(torch.zeros_like(weight) for weight in weights))
    ones = centred.new_ones(len(centred), 1)
    for level, error, (transposed, order) in zip(pairs, upstream, by_concept(pairs)):
        own = slice(level.first, level.last)
        activations = scale * level.activations.index_select(0, order)
        slopes = scale * sampled(level.by_token, error, weights.decoder[own]).index_select(0, order)
        add_product(transposed, activations, error, gradients.decoder[own])
        add_product(transposed, slopes, centred, gradients.encoder[own])
        add_product(transposed, slopes, ones, gradients.encoder_bias[own].unsqueeze(1))
    return gradients


def add_auxiliary(
    weights: Weights,
    centred: Tensor,
    pre: Tensor,
    residual: Tensor,
    dead: Tensor,
    coefficient: float,
    gradients: Weights,
) -> Tensor:
    """Add the auxiliary loss's gradients to `gradients` in place and return its weighted value [].

    pre [n, m] and residual = x̂ - x [n, d] are of the same batch; `dead`: int64 [n_dead] concepts. Each token uses its
    d/2 strongest dead latents, after ReLU (arXiv 2406.04093, appendix A.2). A residual that is the same for every token
    leaves nothing to explain: no loss, no gradient.
    """
    if len(dead) == 0 or bool((spread := _spread(residual)).isnan()):
        return centred.new_zeros(())
    latents = pre[:, dead].relu_()
    strongest = max(1, centred.shape[1] // 2)
    if len(dead) > strongest:
        values, places = torch.topk(latents, strongest, dim=1, sorted=False)
        latents = latents.zero_().scatter_(1, places, values)
    decoder = weights.decoder[dead]
    error = torch.addmm(residual, latents, decoder)
    scale = coefficient / spread
    upstream = (2 * scale) * error
    of_latents = (upstream @ decoder.t()) * (latents > 0)
    of_bias = of_latents.sum(0)
    gradients.decoder[dead] += latents.t() @ upstream
    gradients.encoder[dead] += of_latents.t() @ centred
    gradients.encoder_bias[dead] += of_bias
    gradients.decoder_bias.sub_(of_bias @ weights.encoder[dead])
    return scale * error.square().sum()
