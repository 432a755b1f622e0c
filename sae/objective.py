"""What training minimises, with gradients written out: the reconstruction errors of all nested levels.

In: weights, a batch centred on the decoder bias, its active pairs. Out: loss, what the gradients of the weights need,
and those gradients, all over active pairs alone.

With G levels of weights w_l, and x̂_l = b_dec + Σ a W_dec[c] over the pairs up to level l, the loss is

    L = Σ_l w_l mean_B ‖x - x̂_l‖²        published: w_l = 1/G² (the mean over levels of errors that weigh 1/G already)

or, normalised, the same divided by mean_B ‖x - mean_B x‖². Which pairs are active is held constant. Where ranks share
the tokens, losses and gradients are those of a rank's own, to be averaged afterwards, and variances those of all; where
they share the concepts, pairs and gradients are a rank's own and all else is of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .config import LevelWeights
from .distributed import ALONE, Group, Ranks
from .distributed.slices import nested_of_slices
from .kernels import add_product
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

    def __init__(self, level_weights: Sequence[float], ranks: Ranks = ALONE, *, normalised: bool = False) -> None:
        self.level_weights, self.ranks, self.normalised = tuple(level_weights), ranks, normalised
        self._upstream: Tensor | None = None

    def __call__(self, weights: Weights, centred: Tensor, pairs: Pairs) -> NestedResult:
        """Loss for `centred` = x - b_dec [n, d] and the active pairs [n, m]."""
        n = len(centred)
        variance = spread(centred, self.ranks.tokens)
        level_weights = torch.tensor(self.level_weights, dtype=centred.dtype)
        share = level_weights.to(centred.device, non_blocking=True) / n
        if self.normalised:  # a batch that does not vary is taken as it is
            share = torch.where(variance.isnan(), share, share / variance)
        work = self._work_array(centred)
        own = (pairs.pattern, pairs.levels, pairs.activations, weights.decoder)
        found = nested_of_slices(*own, centred, 2 * share, work, self.ranks.concepts)
        squares, sums, count = self.ranks.tokens.sums(found.squares, found.sums, centred.new_full((), n))
        fvu = (squares - sums.square().sum(1) / count) / count / variance
        bias = 2 * share @ found.sums
        return NestedResult(share @ found.squares, fvu, found.slopes, found.upstream, bias, 2 * share[-1])

    def _work_array(self, centred: Tensor) -> Tensor:
        shape, held = (len(self.level_weights), *centred.shape), self._upstream
        if held is None or held.shape != shape or held.dtype != centred.dtype or held.device != centred.device:
            held = self._upstream = centred.new_empty(shape)
        return held


def level_weights(kind: LevelWeights, n_levels: int) -> list[float]:
    """[G]: see `TrainConfig.level_weights`."""
    if kind == "reversed":
        return [2 * (n_levels - level) / (n_levels * (n_levels + 1)) for level in range(n_levels)]
    return [{"published": 1 / n_levels**2, "mean": 1 / n_levels, "sum": 1.0}[kind]] * n_levels


def gradients(
    weights: Weights,
    centred: Tensor,
    pairs: Pairs,
    result: NestedResult,
    slopes: Tensor,
    out: Weights,
    concepts: Group = ALONE.concepts,
) -> Weights:
    """Gradients of the four weights, written over `out`. `slopes` [nnz]: those of the pre-activations (`result.slopes`,
    where an activation is its pre-activation)."""
    by_token, by_level, order = pairs.by_concept()
    slopes = slopes.index_select(0, order)
    out.decoder.zero_(), out.encoder.zero_()
    add_product(by_level, pairs.activations.index_select(0, order), result.upstream.flatten(0, 1), out.decoder)
    add_product(by_token, slopes, centred, out.encoder)
    out.encoder_bias.zero_().index_add_(0, pairs.pattern.columns.index_select(0, order), slopes)
    torch.sub(result.decoder_bias, concepts.sum_(out.encoder_bias @ weights.encoder), out=out.decoder_bias)
    return out


def spread(rows: Tensor, tokens: Group = ALONE.tokens) -> Tensor:
    """[]: mean squared deviation of all ranks' rows [n, d] from their mean; NaN where it is no more than rounding."""
    own = (torch.linalg.vector_norm(rows).square(), rows.sum(0), rows.new_full((), len(rows)))
    squares, total, count = tokens.sums(*own)
    deviation = squares - total.square().sum() / count
    return torch.where(deviation > 4 * torch.finfo(rows.dtype).eps * squares, deviation / count, torch.nan)
