"""Adam fused on CUDA: clipping, moments and step in one visit of a weight, unit rows included.

In: weights, gradients and moments, float32, changed in place. Decoder rows of length 1 lose the component of their
gradient that would change their length, and are brought back to length 1 after the step (specs/insight.md §1.3).
"""

# mypy: allow-untyped-defs
# (a kernel's arguments are pointers and scalars, which Triton types as it compiles)

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import block_of, warps_of

_BLOCK = 1024


class Step(NamedTuple):
    """What one step of Adam needs to know besides the tensors."""

    size: float
    number: int
    """1 for the first step."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


def across(gradient: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of each gradient row [m, d] its component along the unit row of `rows` [m, d], and the square of what is left.

    Both float32 [m]. The sum of the squares is what a decoder adds to the squared norm that clipping looks at.
    """
    m, d = gradient.shape
    block = block_of(d)
    along, square = torch.empty(2, m, dtype=torch.float32, device=gradient.device)
    _across[(m,)](gradient, rows, along, square, d, block, num_warps=warps_of(block))
    return along, square


def adam_rows(
    rows: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, along: Tensor, factor: Tensor, step: Step
) -> None:
    """One step of rows [m, d] of length 1, in place: (gradient - along · row) · factor, then Adam, then length 1.

    `along` [m] as `across` gives it; `factor` []: what clipping leaves of the gradient; mean, square [m, d]: moments.
    """
    m, d = rows.shape
    block, scalars = block_of(d), _scalars(step)
    _adam_rows[(m,)](rows, gradient, mean, square, along, factor, *scalars, d, block, num_warps=warps_of(block))


def adam(weight: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, factor: Tensor, step: Step) -> None:
    """One step of a contiguous weight of any shape, in place: gradient · factor, then Adam."""
    size = weight.numel()
    _adam[(triton.cdiv(size, _BLOCK),)](weight, gradient, mean, square, factor, *_scalars(step), size, _BLOCK)


def _scalars(step: Step) -> tuple[float, float, float, float, float]:
    """1 - β1, 1 - β2, ε, and the step size and the second moment's scale with the moments' start at 0 made good."""
    first, second = step.betas
    return 1 - first, 1 - second, step.eps, step.size / (1 - first**step.number), (1 - second**step.number) ** -0.5


@triton.jit
def _moved(weight, gradient, mean, square, place, mask, new1, new2, eps, size, scale):
    """The weights at `place` after the step; moments are written."""
    first = tl.load(mean + place, mask=mask, other=0.0)
    first += new1 * (gradient - first)
    second = tl.load(square + place, mask=mask, other=0.0)
    second += new2 * (gradient * gradient - second)
    tl.store(mean + place, first, mask=mask)
    tl.store(square + place, second, mask=mask)
    return weight - size * first / (tl.sqrt(second) * scale + eps)


@triton.jit
def _across(gradient, rows, along, square, d, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    dots, squares = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for first in range(0, d, BLOCK):
        place = first + tl.arange(0, BLOCK)
        slope = tl.load(gradient + row * d + place, mask=place < d, other=0.0)
        dots += slope * tl.load(rows + row * d + place, mask=place < d, other=0.0)
    component = tl.sum(dots, 0)
    for first in range(0, d, BLOCK):
        place = first + tl.arange(0, BLOCK)
        slope = tl.load(gradient + row * d + place, mask=place < d, other=0.0)
        slope -= component * tl.load(rows + row * d + place, mask=place < d, other=0.0)
        squares += slope * slope
    tl.store(along + row, component)
    tl.store(square + row, tl.sum(squares, 0))


@triton.jit
def _adam_rows(rows, gradient, mean, square, along, factor, new1, new2, eps, size, scale, d, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    component, clip = tl.load(along + row), tl.load(factor)
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, d, BLOCK):
        column = first + tl.arange(0, BLOCK)
        place, mask = row * d + column, column < d
        weight = tl.load(rows + place, mask=mask, other=0.0)
        slope = (tl.load(gradient + place, mask=mask, other=0.0) - component * weight) * clip
        weight = _moved(weight, slope, mean, square, place, mask, new1, new2, eps, size, scale)
        squares += tl.where(mask, weight * weight, 0.0)
        tl.store(rows + place, weight, mask=mask)
    length = tl.sqrt(tl.sum(squares, 0))
    tl.debug_barrier()  # what the program has written it now reads
    for first in range(0, d, BLOCK):
        column = first + tl.arange(0, BLOCK)
        place, mask = row * d + column, column < d
        tl.store(rows + place, tl.load(rows + place, mask=mask, other=0.0) / length, mask=mask)


@triton.jit
def _adam(weights, gradient, mean, square, factor, new1, new2, eps, size, scale, numel, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = place < numel
    weight = tl.load(weights + place, mask=mask, other=0.0)
    slope = tl.load(gradient + place, mask=mask, other=0.0) * tl.load(factor)
    weight = _moved(weight, slope, mean, square, place, mask, new1, new2, eps, size, scale)
    tl.store(weights + place, weight, mask=mask)
