"""Rows rounded to bfloat16 on CUDA, and what the rounding took from each, in one visit."""

# mypy: allow-untyped-defs
# (a kernel's arguments are pointers and scalars, which Triton types as it compiles)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import block_of, warps_of


def rounded(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.rounded`."""
    n, d = x.shape
    low = torch.empty(n, d, dtype=torch.bfloat16, device=x.device)
    norms, lost = torch.empty(2, n, dtype=torch.float32, device=x.device)
    block = block_of(d)
    _rounded[(n,)](x.contiguous(), low, norms, lost, d, block, num_warps=warps_of(block))
    return low, norms, lost


@triton.jit
def _rounded(x, low, norms, lost, d, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    squares, lost_squares = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for first in range(0, d, BLOCK):
        column = first + tl.arange(0, BLOCK)
        place, mask = row * d + column, column < d
        value = tl.load(x + place, mask=mask, other=0.0)
        near = value.to(tl.bfloat16)
        gap = value - near.to(tl.float32)
        squares += value * value
        lost_squares += gap * gap
        tl.store(low + place, near, mask=mask)
    tl.store(norms + row, tl.sqrt(tl.sum(squares, 0)))
    tl.store(lost + row, tl.sqrt(tl.sum(lost_squares, 0)))
