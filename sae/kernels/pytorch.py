"""The sparse products in plain torch, on every device (MKL on x86, cuSPARSE on CUDA)."""

from __future__ import annotations

import torch
from torch import Tensor


def add_product(offsets: Tensor, columns: Tensor, n_columns: int, values: Tensor, dense: Tensor, out: Tensor) -> None:
    """See `kernels.add_product`."""
    if len(values):
        torch.addmm(out, _csr(offsets, columns, values, n_columns), dense, out=out)


def sampled(offsets: Tensor, columns: Tensor, n_columns: int, left: Tensor, right: Tensor) -> Tensor:
    """See `kernels.sampled`."""
    products = left.new_zeros(len(columns))
    if len(columns):
        pattern = _csr(offsets, columns, products, n_columns)
        products = torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()
    return products


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, n_columns: int) -> Tensor:
    shape = (len(offsets) - 1, n_columns)
    return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False)
