"""CKNNA: whether codes keep the neighbourhoods of features. In: two descriptions of one sample. Out: a number."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..codes import SparseCodes
from ..errors import InsightError

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def cknna(
    left: Tensor | SparseCodes, right: Tensor | SparseCodes, *, neighbours: int = 10, entries: int = 2**24
) -> float:
    """Centred kernel nearest-neighbour alignment of two descriptions of the same n tokens.

    Each is an array [n, any width] or codes of n rows; features are not centred or scaled here. K and L are their
    linear kernels. With M_K[i, j] = 1 where j is among the largest `neighbours` of row i of K without its diagonal
    (ties: the earlier token), HSIC_u the unbiased estimator of Song et al. 2012 (eq. 5) and ∘ the product by entries:

        CKNNA = HSIC_u(M_K ∘ M_L ∘ K, M_K ∘ M_L ∘ L) / √(HSIC_u(M_K ∘ K, M_K ∘ K) · HSIC_u(M_L ∘ L, M_L ∘ L))

    1 for a description and itself, turned or scaled; about 0 for unrelated ones; NaN where a self-term is not positive.
    The masks are not symmetric, so, as published, changing sides changes the number a little.
    The work is O(n²) (n² · width for arrays), so give it a sample: 10,000 tokens take seconds. Kernels are formed in
    blocks of rows, on the CPU in float64, `entries` cells at once; what is kept is O(n · neighbours).
    `InsightError` on different lengths, NaN or infinity, fewer than four tokens, or not 1 <= neighbours < n.
    """
    n = len(left)
    if len(right) != n:
        raise InsightError(f"cknna: expected two descriptions of the same tokens, found {n} and {len(right)}")
    if n < 4 or not 1 <= neighbours < n:
        found = f"{n} tokens and neighbours = {neighbours}"
        raise InsightError(f"cknna: expected at least 4 tokens and 1 <= neighbours < tokens, found {found}")
    near_left, kernel_left = _nearest(left, neighbours, entries)
    near_right, kernel_right = _nearest(right, neighbours, entries)
    own_left, own_right = _hsic(kernel_left, kernel_left), _hsic(kernel_right, kernel_right)
    if not (own_left > 0 and own_right > 0):
        return float("nan")
    cross = _hsic(kernel_left.multiply(near_right).tocsr(), kernel_right.multiply(near_left).tocsr())
    return float(cross / np.sqrt(own_left * own_right))


def _nearest(side: Tensor | SparseCodes, neighbours: int, entries: int) -> tuple[csr_array, csr_array]:
    """M and M ∘ K [n, n] in CSR: which tokens are nearest to each, and the kernel there (0 is kept as an entry)."""
    from scipy.sparse import csr_array

    n = len(side)
    rows: Tensor | csr_array
    if isinstance(side, SparseCodes):
        rows = replace(side, activations=side.activations.double()).to_scipy()
        finite = bool(np.isfinite(rows.data).all())
    else:
        rows = side.detach().reshape(n, -1).double().cpu()
        finite = bool(torch.isfinite(rows).all())
    if not finite:
        raise InsightError("cknna: expected finite numbers, found NaN or infinity; leave those tokens out")
    columns, values = [], []
    step = max(1, entries // n)
    for start in range(0, n, step):
        product = rows[start : start + step] @ rows.T
        kernel = product if isinstance(product, Tensor) else torch.from_numpy(product.toarray())
        others = kernel.clone()
        itself = torch.arange(len(kernel))
        others[itself, start + itself] = -torch.inf
        last = others.topk(neighbours, dim=1).values[:, -1:]
        above, level = others > last, others == last
        near = above | (level & (level.cumsum(1) <= neighbours - above.sum(1, keepdim=True)))
        columns.append(near.nonzero()[:, 1])
        values.append(kernel[near])
    pattern = (torch.cat(columns).numpy(), np.arange(0, n * neighbours + 1, neighbours))
    mask = csr_array((np.ones(n * neighbours), *pattern), shape=(n, n))
    return mask, csr_array((torch.cat(values).numpy(), *pattern), shape=(n, n))


def _hsic(left: csr_array, right: csr_array) -> float:
    """Song et al. 2012, eq. 5, of two matrices [n, n] with zero diagonals that need not be symmetric.

    (tr(K L) + ΣK ΣL / ((n - 1)(n - 2)) - 2 Σ(K L) / (n - 2)) / (n (n - 3)), K left and L right.
    """
    n = left.shape[0]
    trace = left.multiply(right.T).sum()
    both = left.sum() * right.sum() / ((n - 1) * (n - 2))
    through = left.sum(axis=0) @ right.sum(axis=1)
    return float((trace + both - 2 * through / (n - 2)) / (n * (n - 3)))
