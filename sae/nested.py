"""The active pairs of a batch laid out level by level, so that all Matryoshka levels share them.

Level l reconstructs with the concepts of levels 0 .. l. Each pair belongs to one level, so reconstructions are running
sums over levels and their gradients suffix sums: six levels cost about as much as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .codes import SparseCodes
from .kernels import Pattern, add_product


@dataclass(frozen=True, eq=False)
class LevelPairs:
    """The pairs of one level: concepts `first` to `last` - 1 of the dictionary, counted from `first`."""

    first: int
    last: int
    by_token: Pattern
    """[n, last - first]."""
    activations: Tensor
    """[nnz of the level], in the order of `by_token`."""


def split_levels(codes: SparseCodes, levels: Sequence[int]) -> list[LevelPairs]:
    """The pairs of codes [n, m] apart by level; `levels` are rising prefix sizes, the last m."""
    device, n = codes.device, codes.n
    level = torch.bucketize(codes.concepts, torch.tensor(levels, dtype=torch.int32, device=device), right=True)
    order = torch.argsort(level.to(torch.uint8), stable=True)
    concepts, activations = codes.concepts.index_select(0, order), codes.activations.index_select(0, order)
    counts = torch.bincount(level * n + codes.rows(), minlength=len(levels) * n).view(len(levels), n)
    offsets = torch.nn.functional.pad(counts.cumsum(1), (1, 0)).to(torch.int32)
    bounds = zip(pairwise((0, *levels)), pairwise([0, *counts.sum(1).cumsum(0).tolist()]))
    return [
        LevelPairs(first, last, Pattern(own, concepts[begin:end] - first, last - first), activations[begin:end])
        for own, ((first, last), (begin, end)) in zip(offsets, bounds)
    ]


def by_concept(pairs: Sequence[LevelPairs]) -> list[tuple[Pattern, Tensor]]:
    """For each level the transposed pattern [last - first, n], and where each of its entries stands in `by_token`."""
    counts = torch.stack([level.by_token.offsets.diff() for level in pairs])
    n, sizes = counts.shape[1], [len(level.activations) for level in pairs]
    token = torch.arange(n, dtype=torch.int32, device=counts.device).repeat(len(pairs))
    tokens = torch.repeat_interleave(token, counts.view(-1), output_size=sum(sizes))
    concepts = torch.cat([level.by_token.columns + level.first for level in pairs])
    order = torch.argsort(concepts, stable=True)  # keeps levels apart: their concepts are ranges that follow each other
    per_concept = torch.bincount(concepts, minlength=pairs[-1].last).to(torch.int32)
    transposed, begin = [], 0
    for level, own in zip(pairs, order.split(sizes)):
        ends = per_concept[level.first : level.last].cumsum(0, dtype=torch.int32)
        pattern = Pattern(torch.nn.functional.pad(ends, (1, 0)), tokens.index_select(0, own), n)
        transposed.append((pattern, own - begin))
        begin += len(own)
    return transposed


def add_reconstructions(pairs: Sequence[LevelPairs], decoder: Tensor, out: Tensor) -> Tensor:
    """Fill `out` [levels, n, d] with start + reconstruction of each level, where out[0] holds the start beforehand.

    With the decoder bias as the start this gives the reconstructions x̂_l; with bias - x their residuals x̂_l - x.
    """
    for index, level in enumerate(pairs):
        if index:
            out[index].copy_(out[index - 1])
        add_product(level.by_token, level.activations, decoder[level.first : level.last], out[index])
    return out
