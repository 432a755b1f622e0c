"""Finding the few large entries of a dense array on CUDA: all above a bound, and the k largest of each row.

`above` counts the entries above the bound in every segment of 256 columns, adds the counts up, and visits those
segments again that have any, which is one in eight at a support of one in two thousand: the scores cross memory little
more than once. Entries come row by row, in order of their columns.
"""

# mypy: allow-untyped-defs
# (a kernel's arguments are pointers and scalars, which Triton types as it compiles)

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..types import Pattern

_SEGMENT = 256
_SEGMENTS = 16
_ROW_BLOCK = 4096


class Shortlist(NamedTuple):
    """The entries above a bound, in arrays whose length does not depend on how many there are."""

    positions: Tensor
    """int64 [capacity]: row · n_columns + column of each entry, rising; -1 behind the last one."""
    values: Tensor
    """float32 [capacity]: the scores at the positions; -inf behind the last one."""
    found: Tensor
    """int64 []: how many entries there are, which may be more than the capacity; the last ones are then missing."""


def above(scores: Tensor, rows: Tensor, columns: Tensor) -> tuple[Pattern, Tensor]:
    """See `kernels.above`. Waits for the device once, to learn how many entries there are."""
    n, m = scores.shape
    scores = scores.contiguous()
    ends = _ends(scores, rows, columns)
    positions, values = _filled(scores, rows, columns, ends, int(ends[-1:].sum()))
    of_rows = ends.view(n, -1)[:, -1] if len(ends) else ends.new_zeros(n)
    offsets = torch.nn.functional.pad(of_rows, (1, 0))
    return Pattern(offsets, torch.remainder(positions, m).to(torch.int32), m), values


def above_within(scores: Tensor, rows: Tensor, columns: Tensor, capacity: int) -> Shortlist:
    """The first `capacity` entries that `kernels.above` would find. Never waits for the device."""
    scores = scores.contiguous()
    ends = _ends(scores, rows, columns)
    return Shortlist(*_filled(scores, rows, columns, ends, capacity), ends[-1:].sum())


def keep_largest(x: Tensor, k: int) -> None:
    """See `kernels.keep_largest`. Of equals the first stay."""
    n, c = x.shape
    if n and k < c:
        _keep_largest[(n,)](x, *x.stride(), k, c, min(_ROW_BLOCK, triton.next_power_of_2(c)))


def _ends(scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """int64 [n · segments]: entries above the bound up to the end of each segment of each row."""
    (n, m), segments = scores.shape, triton.cdiv(scores.shape[1], _SEGMENT)
    counts = torch.empty(n * segments, dtype=torch.int16, device=scores.device)
    grid = (n, triton.cdiv(segments, _SEGMENTS))
    _count[grid](scores, rows, columns, counts, m, segments, _SEGMENTS, _SEGMENT)
    return counts.cumsum(0)


def _filled(scores: Tensor, rows: Tensor, columns: Tensor, ends: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """Positions int64 [capacity] and values float32 [capacity] of the entries; -1 and -inf behind the last."""
    (n, m), segments = scores.shape, triton.cdiv(scores.shape[1], _SEGMENT)
    positions = torch.full((capacity,), -1, dtype=torch.int64, device=scores.device)
    values = torch.full((capacity,), -torch.inf, dtype=torch.float32, device=scores.device)
    grid = (n, triton.cdiv(segments, _SEGMENTS))
    _fill[grid](scores, rows, columns, ends, positions, values, capacity, m, segments, _SEGMENTS, _SEGMENT, num_warps=1)
    return positions, values


@triton.jit
def _count(scores, rows, columns, counts, m, segments, SEGMENTS: tl.constexpr, SEGMENT: tl.constexpr):
    """The entries of a row above the bound in each of a number of segments."""
    row = tl.program_id(0).to(tl.int64)
    segment = tl.program_id(1) * SEGMENTS + tl.arange(0, SEGMENTS)
    column = segment[:, None] * SEGMENT + tl.arange(0, SEGMENT)[None, :]
    inside = column < m
    score = tl.load(scores + row * m + column, mask=inside, other=0.0).to(tl.float32)
    bound = tl.load(rows + row) + tl.load(columns + column, mask=inside, other=0.0)
    counted = tl.sum((inside & (score > bound)).to(tl.int32), 1).to(tl.int16)
    tl.store(counts + row * segments + segment, counted, mask=segment < segments)


@triton.jit(do_not_specialize=["capacity"])  # it changes from batch to batch
def _fill(
    scores,
    rows,
    columns,
    ends,
    positions,
    values,
    capacity,
    m,
    segments,
    SEGMENTS: tl.constexpr,
    SEGMENT: tl.constexpr,
):
    """The entries of a row above the bound, written where those before them end."""
    row = tl.program_id(0).to(tl.int64)
    edge = tl.load(rows + row)
    first = tl.program_id(1) * SEGMENTS
    begin = tl.load(ends + row * segments + first - 1, mask=row + first > 0, other=0)
    for own in range(0, tl.minimum(SEGMENTS, segments - first)):
        end = tl.load(ends + row * segments + first + own)
        if end > begin:
            column = (first + own) * SEGMENT + tl.arange(0, SEGMENT)
            inside = column < m
            score = tl.load(scores + row * m + column, mask=inside, other=0.0).to(tl.float32)
            bound = edge + tl.load(columns + column, mask=inside, other=0.0)
            chosen = inside & (score > bound)
            place = begin + tl.cumsum(chosen.to(tl.int32), 0) - 1
            kept = chosen & (place < capacity)
            tl.store(positions + place, row * m + column, mask=kept)
            tl.store(values + place, score, mask=kept)
        begin = end


@triton.jit
def _keep_largest(x, row_stride, place_stride, k, c, BLOCK: tl.constexpr):
    """Halves the range of bit patterns that holds the k-th largest: floats >= 0 are ordered as their bits are."""
    own = x + tl.program_id(0).to(tl.int64) * row_stride
    most = 0
    for first in range(0, c, BLOCK):
        place = first + tl.arange(0, BLOCK)
        bits = tl.load(own + place * place_stride, mask=place < c, other=0.0).to(tl.float32).to(tl.int32, bitcast=True)
        most = tl.maximum(most, tl.max(bits, 0))
    # At least k entries are >= low (all are >= 0), fewer than k are >= high.
    low, high, reached = most * 0, most + 1, most * 0 + c
    while (high - low > 1) & (reached != k):
        middle = low + (high - low) // 2
        counted = most * 0
        for first in range(0, c, BLOCK):
            place = first + tl.arange(0, BLOCK)
            bits = (
                tl.load(own + place * place_stride, mask=place < c, other=0.0).to(tl.float32).to(tl.int32, bitcast=True)
            )
            counted += tl.sum((bits >= middle).to(tl.int32), 0)
        if counted >= k:
            low = middle
            reached = counted
        else:
            high = middle
    # All above `low` stay, and of those equal to it the first, as many as are still wanted.
    spare = k + (low * 0)
    if reached != k:
        above_low = low * 0
        for first in range(0, c, BLOCK):
            place = first + tl.arange(0, BLOCK)
            bits = (
                tl.load(own + place * place_stride, mask=place < c, other=0.0).to(tl.float32).to(tl.int32, bitcast=True)
            )
            above_low += tl.sum((bits > low).to(tl.int32), 0)
        spare = k - above_low
    for first in range(0, c, BLOCK):
        place = first + tl.arange(0, BLOCK)
        value = tl.load(own + place * place_stride, mask=place < c, other=0.0)
        bits = value.to(tl.float32).to(tl.int32, bitcast=True)
        equal = (bits == low) & (place < c)
        kept = (bits > low) | (equal & (tl.cumsum(equal.to(tl.int32), 0) <= spare))
        spare -= tl.sum(equal.to(tl.int32), 0)
        tl.store(own + place * place_stride, tl.where(kept, value, 0.0), mask=place < c)
