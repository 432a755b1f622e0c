"""BatchTopK on CUDA without waiting for the device: the largest pre-activations of a batch, found through a screen.

In: scores [n, m] ≈ x W_encᵀ of any precision, with how far each token's may be off. Out: codes in arrays whose lengths
are known beforehand, the cut for the next batch, and whether the result is certain.

Why the result is the float32 one. Let u be the float32 pre-activations, and let every score be within its token's
radius of its product. An entry is shortlisted unless its score shows that u <= cut. So when at least as many entries
as are wanted have u > cut, the wanted largest have too, hence are shortlisted, and are settled on u itself; the cut
decides how long the shortlist gets, never what is chosen. (A cut of 0 shortlists all that may be chosen at all.) Two
things can go wrong, both recorded in `exact`: a cut too high for this batch, and a shortlist longer than its array.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .select import above_within
from .sparse import inner_products

_CARRIED_SHARE = 0.97
_SHARE_WHEN_SHORT = 0.8
_SAMPLED_ROWS = 64
_SAMPLED_SHARE = 0.9


class Largest(NamedTuple):
    """Codes of a batch, as CSR arrays of fixed lengths, and what is carried over to the next batch."""

    offsets: Tensor
    """int64 [n + 1], the last one `wanted`."""
    concepts: Tensor
    """int32 [wanted], rising within a token."""
    activations: Tensor
    """float32 [wanted]: u > 0. Where fewer than wanted are positive the last token ends in pairs of the last concept
    with activation 0, whose slopes must be dropped."""
    cut: Tensor
    """float32 []: the cut for the next batch."""
    exact: Tensor
    """bool []: the result is the float32 one. Otherwise repeat with the new `cut`, or with more capacity."""


def largest(
    scores: Tensor,
    radius: Tensor,
    left: Tensor,
    right: Tensor,
    bias: Tensor,
    wanted: int,
    cut: Tensor,
    capacity: int,
) -> Largest:
    """The `wanted` largest positive u = left · rightᵀ + bias of a batch.

    scores [n, m] float32, bfloat16 or float16: the products without bias, each within radius [n] of the float32 product
    but for the rounding of the score itself (`Preactivations.screen`); left [n, d] float32 tokens, right [m, d] float32
    encoder rows, bias [m]; cut float32 []; capacity >= wanted, three times as much being ample for a cut from the last
    batch.
    """
    n, m = scores.shape
    cut = cut.clamp_min(0.0)
    rounding = 0.505 * torch.finfo(scores.dtype).eps + 4 * torch.finfo(torch.float32).eps
    rows = cut - radius - rounding * (cut + radius) - torch.finfo(scores.dtype).tiny
    positions, _, found = above_within(scores, rows, -(bias + rounding * bias.abs()), capacity)
    concept = torch.remainder(positions, m)
    exactly = inner_products((positions // m).to(torch.int32), concept.to(torch.int32), left, right) + bias[concept]
    exactly = torch.where(positions >= 0, exactly, -torch.inf)

    values, order = torch.topk(exactly, wanted, sorted=False)
    positive = values > 0
    chosen, order = torch.where(positive, positions[order], n * m - 1).sort()
    activations = torch.where(positive, values, 0.0)[order]
    offsets = torch.searchsorted(chosen, torch.arange(n + 1, device=scores.device) * m)

    overflow = found > capacity
    short = ((exactly > cut).sum() < wanted) & (cut > 0)
    settled = _CARRIED_SHARE * values.min().clamp_min(0.0)
    # The settled edge of a part of the shortlist is none too high, and above a cut that let too many in.
    following = torch.where(short, _SHARE_WHEN_SHORT * cut, settled)
    following = torch.where(overflow, torch.maximum(settled, cut), following)
    concepts = torch.remainder(chosen, m).to(torch.int32)
    return Largest(offsets, concepts, activations, following, ~(overflow | short))


def estimated_cut(scores: Tensor, bias: Tensor, wanted: int) -> Tensor:
    """float32 []: a cut for the first batch, a little below the edge of a sample of its tokens."""
    n = len(scores)
    sample = scores[:: max(1, n // _SAMPLED_ROWS)].float() + bias
    share = min(sample.numel(), max(1, wanted * len(sample) // n))
    return _SAMPLED_SHARE * torch.topk(sample.view(-1), share, sorted=False).values.min().clamp_min(0.0)
