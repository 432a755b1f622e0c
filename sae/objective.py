"""What training minimises, with gradients written out: the reconstruction errors of all nested levels.

In: weights, a batch centred on the decoder bias, its active pairs. Out: loss, what the gradients of the weights need,
and those gradients, all over active pairs alone.

With G levels of weights w_l, and x̂_l = b_dec + Σ a W_dec[c] over the pairs up to level l, the loss is

    L = Σ_l w_l mean_B ‖x - x̂_l‖²        published: w_l = 1/G² (the mean over levels of errors that weigh 1/G already)

Which pairs are active is held constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .kernels import add_product, nested
from .nested import Pairs
from .weights import Weights


class NestedResult(NamedTuple):
    """The nested reconstruction loss of one batch."""

    loss: Tensor
    """[]"""
    fvu: Tensor
    """[G]: variance left unexplained by each level, as a share of the batch's (NaN where the batch does not vary)."""
    slopes: Tensor
    """[nnz]: gradient of each activation."""
    upstream: Tensor
    """[G, n, d]: gradient of what a pair of level l adds to its token. Overwritten by the next batch."""
    decoder_bias: Tensor
    """[d]: gradient of b_dec as it stands in the reconstructions (its part in the encoder left out)."""
    last_share: Tensor
    """[]: what the last level's error was multiplied by, to be its part of `upstream`."""

    def residual(self) -> Tensor:
        """[n, d]: x̂ - x of the last level."""
        return self.upstream[-1] / self.last_share


class NestedLoss:
    """The nested reconstruction loss. Holds one work array [G, n, d], because fresh memory costs more than the sums."""

    def __init__(self, level_weights: Sequence[float]) -> None:
        self.level_weights = tuple(level_weights)
        self._upstream: Tensor | None = None

    def __call__(self, weights: Weights, centred: Tensor, pairs: Pairs) -> NestedResult:
        """Loss for `centred` = x - b_dec [n, d] and the active pairs [n, m]."""
        n = len(centred)
        share = centred.new_tensor(self.level_weights) / n
        work = self._work_array(centred)
        found = nested(pairs.pattern, pairs.levels, pairs.activations, weights.decoder, centred, 2 * share, work)
        fvu = (found.squares - found.sums.square().sum(1) / n) / spread(centred)
        bias = 2 * share @ found.sums
        return NestedResult(share @ found.squares, fvu, found.slopes, found.upstream, bias, 2 * share[-1])

    def _work_array(self, centred: Tensor) -> Tensor:
        shape, held = (len(self.level_weights), *centred.shape), self._upstream
        if held is None or held.shape != shape or held.dtype != centred.dtype or held.device != centred.device:
            held = self._upstream = centred.new_empty(shape)
        return held


def gradients(
    weights: Weights, centred: Tensor, pairs: Pairs, result: NestedResult, slopes: Tensor, out: Weights
) -> Weights:
    """Gradients of the four weights, written over `out`. `slopes` [nnz]: those of the pre-activations (`result.slopes`,
    where an activation is its pre-activation)."""
    by_token, by_level, order = pairs.by_concept()
    slopes = slopes.index_select(0, order)
    out.decoder.zero_(), out.encoder.zero_()
    add_product(by_level, pairs.activations.index_select(0, order), result.upstream.flatten(0, 1), out.decoder)
    add_product(by_token, slopes, centred, out.encoder)
    out.encoder_bias.zero_().index_add_(0, pairs.pattern.columns.index_select(0, order), slopes)
    torch.sub(result.decoder_bias, out.encoder_bias @ weights.encoder, out=out.decoder_bias)
    return out


def spread(rows: Tensor) -> Tensor:
    """[]: summed squared deviation of rows [n, d] from their mean; NaN where it is no more than rounding."""
    squares = torch.linalg.vector_norm(rows).square()
    deviation = squares - rows.sum(0).square().sum() / len(rows)
    return torch.where(deviation > 4 * torch.finfo(rows.dtype).eps * squares, deviation, torch.nan)
