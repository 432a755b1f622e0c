"""What the kernels take and give."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Pattern(NamedTuple):
    """Places of the entries of a sparse [n_rows, n_columns] matrix, row by row (CSR)."""

    offsets: Tensor
    """int64 [n_rows + 1]."""
    columns: Tensor
    """int32 [nnz]."""
    n_columns: int


class Nested(NamedTuple):
    """Of tokens t and levels l, with error_l[t] = Σ a W_dec[c] - centred[t] over the pairs (t, c) up to level l."""

    squares: Tensor
    """[G]: Σ_t ‖error_l[t]‖²."""
    sums: Tensor
    """[G, d]: Σ_t error_l[t]."""
    upstream: Tensor
    """[G, n, d]: Σ_{l' ≥ l} weights[l'] error_l'[t], the gradient of what a pair of level l adds to its token."""
    slopes: Tensor
    """[nnz]: <upstream_l[t], W_dec[c]> for a pair of level l, the gradient of its activation."""
