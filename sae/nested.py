"""Which reconstruction a pair is part of: nested levels share their pairs, so that six cost about as much as one.

A pair (token, concept) of level l is part of reconstructions l, l + 1, ... Levels are prefixes of the dictionary
(Matryoshka) or ranks within a token (MSAE: the k strongest, for rising k).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .codes import SparseCodes
from .kernels import Pattern, add_product, by_column


class Pairs(NamedTuple):
    """Active pairs, token by token, and within a token level by level."""

    pattern: Pattern
    """[n, m]"""
    levels: Tensor
    """uint8 [nnz]"""
    activations: Tensor
    """[nnz]"""
    n_levels: int
    """G"""

    def by_concept(self) -> tuple[Pattern, Pattern, Tensor]:
        """The pairs concept by concept: patterns [m, n] of tokens and [m, G n] of level · n + token, and where each of
        their entries stands here [nnz]."""
        offsets, concepts, m = self.pattern
        n = len(offsets) - 1
        tokens = torch.arange(n, dtype=torch.int32, device=offsets.device)
        tokens = torch.repeat_interleave(tokens, offsets.diff(), output_size=len(concepts))
        own, order = by_column(concepts, m)
        places = (self.levels.to(torch.int32) * n + tokens).index_select(0, order)
        return Pattern(own, tokens.index_select(0, order), n), Pattern(own, places, self.n_levels * n), order


def by_prefix(codes: SparseCodes, levels: Sequence[int]) -> Pairs:
    """Level l holds the concepts below `levels[l]`: rising prefix sizes, the first perhaps 0, the last m."""
    return in_prefixes(Pattern(codes.offsets, codes.concepts, codes.n_concepts), codes.activations, levels)


def in_prefixes(pattern: Pattern, activations: Tensor, levels: Sequence[int]) -> Pairs:
    """`by_prefix` of pairs whose activations [nnz] may be 0."""
    bounds = torch.tensor(levels, dtype=torch.int32).to(activations.device, non_blocking=True)
    level = torch.bucketize(pattern.columns, bounds, right=True, out_int32=True).to(torch.uint8)
    return Pairs(pattern, level, activations, len(levels))


def random_prefixes(m: int, count: int, seed: int, step: int) -> list[int]:
    """`count` different rising prefix sizes, the last m: the same for the same seed and step.

    The others follow Pareto's law of power 1/2 below m, which favours short ones: a size is s or more with probability
    s^(-1/2) (Nabeshima).
    """
    random = np.random.default_rng([seed % 2**64, step])
    sizes = {m}
    while len(sizes) < count:
        size = int((1 - random.random()) ** -2)
        if size < m:
            sizes.add(size)
    return sorted(sizes)


def by_rank(codes: SparseCodes, ks: Sequence[int]) -> Pairs:
    """Level l holds the `ks[l]` strongest concepts of each token; `ks` rise, and the last is no less than any count."""
    strongest = torch.argsort(codes.activations, descending=True, stable=True)
    order = strongest[torch.argsort(codes.rows()[strongest], stable=True)]
    rank = torch.arange(codes.nnz, device=codes.device) - codes.offsets[codes.rows()]
    bounds = torch.tensor(ks, device=codes.device)
    level = torch.bucketize(rank, bounds, right=True).to(torch.uint8)
    pattern = Pattern(codes.offsets, codes.concepts[order], codes.n_concepts)
    return Pairs(pattern, level, codes.activations[order], len(ks))


def reconstructions(codes: SparseCodes, levels: Sequence[int], decoder: Tensor, start: Tensor) -> Tensor:
    """[G, n, d]: start [d] + Σ a W_dec[c] over the first `levels[l]` concepts, for each level l."""
    n, G = codes.n, len(levels)
    level = by_prefix(codes, levels).levels.long()
    row, order = torch.sort(level * n + codes.rows(), stable=True)
    offsets = torch.nn.functional.pad(torch.bincount(row, minlength=G * n).cumsum(0), (1, 0))
    parts = decoder.new_zeros(G, n, decoder.shape[1])
    parts[0] = start
    pattern = Pattern(offsets, codes.concepts[order], codes.n_concepts)
    own = decoder[: codes.n_concepts]  # codes may be those of a level alone
    add_product(pattern, codes.activations[order].to(decoder), own, parts.flatten(0, 1))
    return parts.cumsum_(0)
