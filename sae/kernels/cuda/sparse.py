"""The sparse products on CUDA: inner products at a pattern's entries, and a sparse matrix times a dense one.

In: patterns, values, dense arrays of float32, bfloat16 or float16. Out: float32 sums (`out` keeps its own type). Sums
run in a fixed order, so equal input gives equal bytes; nothing waits for the device.
"""

# mypy: allow-untyped-defs
# (a kernel's arguments are pointers and scalars, which Triton types as it compiles)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..types import Pattern
from .blocks import block_of, warps_of

_ENTRIES = 8
_SEGMENT = 256
"""A row of more entries than this is shared out to several programs, whose sums are then added up."""


def sampled(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """See `kernels.sampled`."""
    return inner_products(rows_of(pattern), pattern.columns, left, right)


def rows_of(pattern: Pattern) -> Tensor:
    """int32 [nnz]: the row of each entry."""
    rows = torch.arange(len(pattern.offsets) - 1, dtype=torch.int32, device=pattern.offsets.device)
    return torch.repeat_interleave(rows, pattern.offsets.diff(), output_size=len(pattern.columns))


def inner_products(rows: Tensor, columns: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """float32 [nnz]: inner products left[rows] · right[columns], in any order; 0 where a row is negative (no entry)."""
    products = torch.empty(len(rows), dtype=torch.float32, device=left.device)
    if len(rows):
        d, block = left.shape[1], block_of(left.shape[1])
        _inner_products[(triton.cdiv(len(rows), _ENTRIES),)](
            rows,
            columns,
            left.contiguous(),
            right.contiguous(),
            products,
            len(rows),
            d,
            _ENTRIES,
            block,
            num_warps=warps_of(block),
        )
    return products


def add_product(pattern: Pattern, values: Tensor, dense: Tensor, out: Tensor) -> None:
    """See `kernels.add_product`."""
    nnz, (n_rows, d) = len(values), out.shape
    if nnz == 0 or n_rows == 0 or d == 0:
        return
    offsets, device = pattern.offsets.contiguous(), out.device
    parts = (offsets.diff() + (_SEGMENT - 1)) // _SEGMENT
    ends = parts.cumsum(0)
    # Bounds known without looking at the device: no row has more than one segment that is not full.
    most_segments, most_long = min(n_rows, nnz) + nnz // _SEGMENT, nnz // (_SEGMENT + 1)
    row_of_segment = torch.searchsorted(ends, torch.arange(most_segments, device=device), right=True)
    long_parts = torch.where(parts > 1, parts, 0).cumsum(0)
    partials = torch.empty(most_long + nnz // _SEGMENT, d, dtype=torch.float32, device=device)
    block = block_of(d)
    blocks = triton.cdiv(d, block)
    strides = out.stride(0), out.stride(1)
    _add_segments[(most_segments, blocks)](
        row_of_segment,
        ends,
        long_parts,
        offsets,
        pattern.columns,
        values,
        dense.contiguous(),
        out,
        partials,
        n_rows,
        d,
        *strides,
        _SEGMENT,
        _ENTRIES,
        block,
        num_warps=warps_of(block),
    )
    if most_long:
        long_rows = (parts > 1).cumsum(0)
        row_of_long = torch.searchsorted(long_rows, torch.arange(most_long, device=device), right=True)
        _add_partials[(most_long, blocks)](
            row_of_long, long_parts, partials, out, n_rows, d, *strides, _ENTRIES, block, num_warps=warps_of(block)
        )


@triton.jit(do_not_specialize=["nnz"])  # it changes from batch to batch
def _inner_products(rows, columns, left, right, products, nnz, d, ENTRIES: tl.constexpr, BLOCK: tl.constexpr):
    entry = tl.program_id(0).to(tl.int64) * ENTRIES + tl.arange(0, ENTRIES)
    row = tl.load(rows + entry, mask=entry < nnz, other=-1).to(tl.int64)
    known = row >= 0
    column = tl.load(columns + entry, mask=known, other=0).to(tl.int64)
    total = tl.zeros((ENTRIES, BLOCK), tl.float32)
    for first in range(0, d, BLOCK):
        place = first + tl.arange(0, BLOCK)
        mask = known[:, None] & (place < d)[None, :]
        ours = tl.load(left + row[:, None] * d + place[None, :], mask=mask, other=0.0).to(tl.float32)
        theirs = tl.load(right + column[:, None] * d + place[None, :], mask=mask, other=0.0).to(tl.float32)
        total += ours * theirs
    tl.store(products + entry, tl.sum(total, 1), mask=entry < nnz)


@triton.jit
def _add_segments(
    row_of_segment,
    ends,
    long_parts,
    offsets,
    columns,
    values,
    dense,
    out,
    partials,
    n_rows,
    d,
    row_stride,
    place_stride,
    SEGMENT: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[row] += the sum of a row that is one segment; of a longer row, each segment's sum goes to `partials`."""
    segment = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    within = place < d
    row = tl.load(row_of_segment + segment)
    if row < n_rows:
        start, stop = tl.load(offsets + row).to(tl.int64), tl.load(offsets + row + 1).to(tl.int64)
        parts = (stop - start + SEGMENT - 1) // SEGMENT
        part = segment - (tl.load(ends + row) - parts)
        start += part * SEGMENT
        count = tl.minimum(stop - start, SEGMENT).to(tl.int32)
        total = tl.zeros((ENTRIES, BLOCK), tl.float32)
        for step in range(0, count, ENTRIES):
            entry = start + step + tl.arange(0, ENTRIES)
            inside = entry < start + count
            column = tl.load(columns + entry, mask=inside, other=0).to(tl.int64)
            value = tl.load(values + entry, mask=inside, other=0.0).to(tl.float32)
            mask = inside[:, None] & within[None, :]
            rows = tl.load(dense + column[:, None] * d + place[None, :], mask=mask, other=0.0).to(tl.float32)
            total += value[:, None] * rows
        summed = tl.sum(total, 0)
        if parts == 1:
            at = out + row * row_stride + place * place_stride
            held = tl.load(at, mask=within, other=0.0).to(tl.float32)
            tl.store(at, (held + summed).to(out.dtype.element_ty), mask=within)
        else:
            slot = tl.load(long_parts + row) - parts + part
            tl.store(partials + slot * d + place, summed, mask=within)


@triton.jit
def _add_partials(
    row_of_long,
    long_parts,
    partials,
    out,
    n_rows,
    d,
    row_stride,
    place_stride,
    ENTRIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[row] += the sums of the segments of a long row."""
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    within = place < d
    row = tl.load(row_of_long + tl.program_id(0))
    if row < n_rows:
        stop = tl.load(long_parts + row)
        start = tl.load(long_parts + row - 1, mask=row > 0, other=0)
        total = tl.zeros((ENTRIES, BLOCK), tl.float32)
        for step in range(0, (stop - start).to(tl.int32), ENTRIES):
            slot = start + step + tl.arange(0, ENTRIES)
            mask = (slot < stop)[:, None] & within[None, :]
            total += tl.load(partials + slot[:, None] * d + place[None, :], mask=mask, other=0.0)
        at = out + row * row_stride + place * place_stride
        held = tl.load(at, mask=within, other=0.0).to(tl.float32)
        tl.store(at, (held + tl.sum(total, 0)).to(out.dtype.element_ty), mask=within)
