"""Errors of all nested levels and the gradients they send back, in one kernel on CUDA.

A program takes a few tokens and a block of d. It sums every active decoder row into the error of the last level, held
in registers; then it walks the levels downwards: the error of a level goes into `upstream`, the level's own rows are
read once more (from cache) for their slopes, and are taken out of the error again, which leaves the level below.
"""

# mypy: allow-untyped-defs
# (a kernel's arguments are pointers and scalars, which Triton types as it compiles)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..types import Nested, Pattern
from .blocks import block_of, warps_of
from .sparse import rows_of

_ENTRIES = 8
_TOKENS = 8
_ACCUMULATORS = 8192
"""Numbers [levels, block of d] that a program holds of each of two kinds."""


def nested(
    pattern: Pattern,
    levels: Tensor,
    activations: Tensor,
    decoder: Tensor,
    centred: Tensor,
    weights: Tensor,
    upstream: Tensor,
) -> Nested:
    """See `kernels.nested`."""
    n_levels, (n, d), nnz = len(weights), centred.shape, len(activations)
    device, largest = centred.device, max(2, triton.next_power_of_2(n_levels))
    key = rows_of(pattern).to(torch.int64) * n_levels + levels
    bounds = torch.searchsorted(key, torch.arange(n * n_levels + 1, device=device))
    block = block_of(d, max(16, min(512, _ACCUMULATORS // largest)))
    groups, blocks = triton.cdiv(n, _TOKENS), triton.cdiv(d, block)
    squares = torch.empty(groups * blocks, n_levels, dtype=torch.float32, device=device)
    sums = torch.empty(groups, n_levels, d, dtype=torch.float32, device=device)
    slopes = torch.empty(blocks, nnz, dtype=torch.float32, device=device)
    if n and d:
        _nested[(groups, blocks)](
            bounds,
            pattern.columns,
            activations,
            decoder.contiguous(),
            centred.contiguous(),
            weights,
            squares,
            sums,
            upstream,
            slopes,
            n,
            d,
            n_levels,
            nnz,
            _TOKENS,
            largest,
            _ENTRIES,
            block,
            num_warps=warps_of(block, numbers=2),
        )
    return Nested(squares.sum(0), sums.sum(0), upstream, slopes[0] if blocks == 1 else slopes.sum(0))


@triton.jit
def _rows(columns, activations, decoder, start, stop, place, d, ENTRIES: tl.constexpr):
    """Decoder rows [ENTRIES, BLOCK] of the entries from `start`, and their activations; zero from `stop` on."""
    entry = start + tl.arange(0, ENTRIES)
    inside = entry < stop
    column = tl.load(columns + entry, mask=inside, other=0).to(tl.int64)
    activation = tl.load(activations + entry, mask=inside, other=0.0).to(tl.float32)
    mask = inside[:, None] & (place < d)[None, :]
    rows = tl.load(decoder + column[:, None] * d + place[None, :], mask=mask, other=0.0).to(tl.float32)
    return activation, rows


@triton.jit(do_not_specialize=["nnz"])  # it changes from batch to batch
def _nested(
    bounds,
    columns,
    activations,
    decoder,
    centred,
    weights,
    squares,
    sums,
    upstream,
    slopes,
    n,
    d,
    n_levels,
    nnz,
    TOKENS: tl.constexpr,
    LEVELS: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    group, part = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    place = part * BLOCK + tl.arange(0, BLOCK)
    within = place < d
    every_level = tl.arange(0, LEVELS)
    summed = tl.zeros((LEVELS, BLOCK), tl.float32)
    squared = tl.zeros((LEVELS, BLOCK), tl.float32)
    for turn in range(0, tl.minimum(TOKENS, n - group * TOKENS).to(tl.int32)):
        token = group * TOKENS + turn
        first = tl.load(bounds + token * n_levels)
        stop = tl.load(bounds + (token + 1) * n_levels)
        total = tl.zeros((ENTRIES, BLOCK), tl.float32)
        for step in range(0, (stop - first).to(tl.int32), ENTRIES):
            activation, rows = _rows(columns, activations, decoder, first + step, stop, place, d, ENTRIES)
            total += activation[:, None] * rows
        error = tl.sum(total, 0) - tl.load(centred + token * d + place, mask=within, other=0.0).to(tl.float32)
        sent = tl.zeros((BLOCK,), tl.float32)
        for back in range(0, n_levels):
            level = n_levels - 1 - back
            here = (every_level == level)[:, None]
            summed += tl.where(here, error[None, :], 0.0)
            squared += tl.where(here, (error * error)[None, :], 0.0)
            sent += tl.load(weights + level) * error
            tl.store(upstream + (level * n + token) * d + place, sent, mask=within)
            first = tl.load(bounds + token * n_levels + level)
            stop = tl.load(bounds + token * n_levels + level + 1)
            total = tl.zeros((ENTRIES, BLOCK), tl.float32)
            for step in range(0, (stop - first).to(tl.int32), ENTRIES):
                activation, rows = _rows(columns, activations, decoder, first + step, stop, place, d, ENTRIES)
                entry = first + step + tl.arange(0, ENTRIES)
                tl.store(slopes + part * nnz + entry, tl.sum(rows * sent[None, :], 1), mask=entry < stop)
                total += activation[:, None] * rows
            error -= tl.sum(total, 0)
    blocks = tl.num_programs(1)
    known = every_level < n_levels
    at = squares + (group * blocks + part) * n_levels + every_level
    tl.store(at, tl.sum(squared, 1), mask=known)
    at = sums + (group * n_levels + every_level[:, None]) * d + place[None, :]
    tl.store(at, summed, mask=known[:, None] & within[None, :])
