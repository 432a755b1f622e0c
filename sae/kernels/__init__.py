"""The sparse products of a step, over active pairs only: 2 nnz d operations each instead of 2 n d m.

A `Pattern` says where the entries are; values come beside it, because one pattern serves activations and their
gradients. `add_product` is the decoder's forward and, on a transposed pattern, both weight gradients; `sampled` is the
gradient of the activations. Which implementation runs is decided here, by device, and nowhere else.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from . import pytorch


class Pattern(NamedTuple):
    """Places of the entries of a sparse [n_rows, n_columns] matrix, row by row (CSR)."""

    offsets: Tensor
    """int32 [n_rows + 1] (int64 where nnz needs it)."""
    columns: Tensor
    """[nnz], of the same type as the offsets."""
    n_columns: int


def add_product(pattern: Pattern, values: Tensor, dense: Tensor, out: Tensor) -> None:
    """out += S @ dense, S being the sparse matrix with `values` [nnz]; dense [n_columns, d], out [n_rows, d]."""
    _implementation(out.device).add_product(*pattern, values, dense, out)


def sampled(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """[nnz]: for each entry (r, c) the inner product of left[r] [n_rows, d] and right[c] [n_columns, d]."""
    return _implementation(left.device).sampled(*pattern, left, right)


def _implementation(device: torch.device) -> ModuleType:
    return pytorch
