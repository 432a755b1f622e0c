"""What a step does over a dictionary whose concepts are divided among ranks, where one rank alone cannot do it.

Every rank holds a contiguous slice of the concepts and sees all tokens. In a group of one these are the plain kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels import Nested, Pattern, add_product, keep_largest, nested, sampled
from .group import Group


def keep_largest_of_slices(x: Tensor, k: int, concepts: Group) -> None:
    """Set all of x [n, own concepts], nowhere negative, to 0 but what is among the k largest of its row on any rank."""
    if concepts.size == 1:
        keep_largest(x, k)
        return
    own, places = torch.topk(x, min(k, x.shape[1]), dim=1)
    every, mine = concepts.gather(own.t().float().contiguous())
    candidates = every.t().contiguous()
    keep_largest(candidates, k)
    x.zero_().scatter_(1, places, candidates[:, mine].to(x.dtype))


def nested_of_slices(
    pattern: Pattern,
    levels: Tensor,
    activations: Tensor,
    decoder: Tensor,
    centred: Tensor,
    weights: Tensor,
    upstream: Tensor,
    concepts: Group,
) -> Nested:
    """`kernels.nested` of all ranks' pairs: each gives its own pairs and decoder rows and gets its own slopes.

    A level's reconstruction is the sum of what all ranks add to it; it is exchanged once, [G, n, d].
    """
    if concepts.size == 1:
        return nested(pattern, levels, activations, decoder, centred, weights, upstream)
    by_level, order = _by_level(pattern, levels, len(weights))
    flat = upstream.zero_().flatten(0, 1)
    add_product(by_level, activations.index_select(0, order), decoder, flat)
    concepts.sum_(upstream)
    upstream[0].sub_(centred)
    for level in range(1, len(weights)):
        upstream[level].add_(upstream[level - 1])
    squares, sums = torch.linalg.vector_norm(upstream.flatten(1), dim=1).square(), upstream.sum(1)
    upstream.mul_(weights.view(-1, 1, 1))
    for level in reversed(range(len(weights) - 1)):
        upstream[level].add_(upstream[level + 1])
    slopes = torch.empty_like(activations)
    slopes[order] = sampled(by_level, flat, decoder)
    return Nested(squares, sums, upstream, slopes)


def _by_level(pattern: Pattern, levels: Tensor, n_levels: int) -> tuple[Pattern, Tensor]:
    """The pairs [G n, m] level by level and token by token within, and where each of them stands here [nnz]."""
    offsets, columns, m = pattern
    n = len(offsets) - 1
    tokens = torch.repeat_interleave(torch.arange(n, device=levels.device), offsets.diff(), output_size=len(columns))
    rows, order = torch.sort(levels.long() * n + tokens, stable=True)
    own = torch.nn.functional.pad(torch.bincount(rows, minlength=n_levels * n).cumsum(0), (1, 0))
    return Pattern(own, columns.index_select(0, order), m), order
