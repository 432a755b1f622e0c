"""The work of a training step that is not its one dense product: over active pairs only, 2 nnz d operations each.

A `Pattern` says where entries are; values come beside it, because one pattern serves activations and their gradients.
Which implementation runs is decided here and nowhere else: Triton on CUDA, compiled C on the CPU where it was built,
and plain torch, which knows every device and type. All give the same results up to rounding.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from . import native, pytorch
from .types import Nested, Pattern

__all__ = [
    "Nested",
    "Pattern",
    "above",
    "add_product",
    "by_column",
    "floors",
    "keep_largest",
    "nested",
    "rounded",
    "sampled",
]


def above(scores: Tensor, rows: Tensor, columns: Tensor) -> tuple[Pattern, Tensor]:
    """Places [n, m] where scores[i, j] > rows[i] + columns[j], and those scores [nnz] in float32.

    scores [n, m] float32 or bfloat16, rows [n] and columns [m] float32; the comparison is in float32.
    """
    return _implementation(rows).above(scores, rows, columns)


def add_product(pattern: Pattern, values: Tensor, dense: Tensor, out: Tensor) -> None:
    """out += S @ dense, S being the sparse matrix with `values` [nnz]; dense [n_columns, d], out [n_rows, d].

    The decoder's forward and, on a transposed pattern, the weights' gradients.
    """
    _implementation(out).add_product(pattern, values, dense, out)


def sampled(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """[nnz]: for each entry (r, c) the inner product of left[r] [n_rows, d] and right[c] [n_columns, d]."""
    return _implementation(left).sampled(pattern, left, right)


def by_column(columns: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Entries by column, each column's in the order they come: where each begins int64 [m + 1], and the entries [nnz].

    columns: int32 [nnz], each in 0 .. m - 1.
    """
    fast = columns.device.type == "cpu" and native.is_built()
    return (native if fast else pytorch).by_column(columns, m)


def rounded(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x [n, d] in bfloat16, the norm of each of its rows [n], and the norm of what rounding took from each [n]."""
    return _implementation(x).rounded(x)


def keep_largest(x: Tensor, k: int) -> None:
    """Set all but the k largest of each row of x [n, c] to 0; of equals any may stay.

    x is float32 or bfloat16 and nowhere negative.
    """
    _implementation(x, torch.bfloat16).keep_largest(x, k)


def floors(scores: Tensor, columns: Tensor, k: int, rounding: float) -> Tensor:
    """[n]: for each row a number >= 0 that at least k of scores - rounding |scores| + columns reach, or 0.

    scores [n, m] float32 or bfloat16, columns [m] float32. Hardly more than k reach it where it is not 0 and
    all differ.
    """
    return _implementation(columns).floors(scores, columns, k, rounding)


def nested(
    pattern: Pattern,
    levels: Tensor,
    activations: Tensor,
    decoder: Tensor,
    centred: Tensor,
    weights: Tensor,
    upstream: Tensor,
) -> Nested:
    """Errors of all nested reconstructions, their weighted sums and the activations' gradients, in one visit.

    pattern [n, m] with `levels` uint8 [nnz], never falling within a row, and `activations` [nnz]; decoder [m, d];
    centred = x - b_dec [n, d]; `weights` [G] of the levels; `upstream` [G, n, d] is overwritten. See `Nested`.
    """
    return _implementation(centred).nested(pattern, levels, activations, decoder, centred, weights, upstream)


def _implementation(tensor: Tensor, *types: torch.dtype) -> ModuleType:
    """What works on tensors like this one; the fast kernels do on float32 and, where named, on other `types`."""
    if tensor.dtype in (torch.float32, *types):
        if tensor.device.type == "cuda":
            from . import cuda

            return cuda
        if tensor.device.type == "cpu" and native.is_built():
            return native
    return pytorch
