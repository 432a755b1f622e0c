"""The kernels in plain torch, for every device and type (MKL on x86, cuSPARSE on CUDA)."""

from __future__ import annotations

import torch
from torch import Tensor

from .types import Nested, Pattern


def above(scores: Tensor, rows: Tensor, columns: Tensor) -> tuple[Pattern, Tensor]:
    """See `kernels.above`."""
    chosen = scores > rows.unsqueeze(1) + columns
    places = chosen.reshape(-1).nonzero().squeeze(1)
    offsets = torch.nn.functional.pad(chosen.sum(1).cumsum(0), (1, 0))
    m = scores.shape[1]
    return Pattern(offsets, torch.remainder(places, m).to(torch.int32), m), scores.view(-1)[places].to(rows.dtype)


def add_product(pattern: Pattern, values: Tensor, dense: Tensor, out: Tensor) -> None:
    """See `kernels.add_product`."""
    if out.dtype in (torch.bfloat16, torch.float16):  # which MKL does not know
        exact = out.float()
        add_product(pattern, values.float(), dense.float(), exact)
        out.copy_(exact)
    elif len(values):
        torch.addmm(out, _csr(pattern, values), dense, out=out)


def sampled(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """See `kernels.sampled`."""
    products = left.new_zeros(len(pattern.columns))
    if len(products):
        products = torch.sparse.sampled_addmm(_csr(pattern, products), left, right.t(), beta=0.0).values()
    return products


def by_column(columns: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """See `kernels.by_column`."""
    order = torch.argsort(columns, stable=True)
    every = torch.arange(m + 1, dtype=torch.int32, device=columns.device)
    return torch.searchsorted(columns.index_select(0, order), every), order  # bincount would wait for the device


def rounded(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.rounded`."""
    low = x.bfloat16()
    return low, torch.linalg.vector_norm(x, dim=1), torch.linalg.vector_norm(x - low, dim=1)


def keep_largest(x: Tensor, k: int) -> None:
    """See `kernels.keep_largest`."""
    if k < x.shape[1]:
        values, places = torch.topk(x, k, dim=1, sorted=False)
        x.zero_().scatter_(1, places, values)


def floors(scores: Tensor, columns: Tensor, k: int, rounding: float) -> Tensor:
    """See `kernels.floors`."""
    if k > scores.shape[1]:
        return columns.new_zeros(len(scores))
    scores = scores.to(columns.dtype)
    return torch.topk(scores - rounding * scores.abs() + columns, k, dim=1).values[:, -1].clamp_min(0)


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
    n, n_levels = len(centred), len(weights)
    tokens = torch.repeat_interleave(torch.arange(n, device=levels.device), pattern.offsets.diff())
    slopes = torch.empty_like(activations)
    own: list[tuple[Pattern, Tensor]] = []
    for level in range(n_levels):
        entries = (levels == level).nonzero().squeeze(1)
        offsets = torch.nn.functional.pad(torch.bincount(tokens[entries], minlength=n).cumsum(0), (1, 0))
        own.append((Pattern(offsets, pattern.columns[entries], pattern.n_columns), entries))
        if level:
            upstream[level].copy_(upstream[level - 1])
        else:
            torch.neg(centred, out=upstream[0])
        add_product(own[level][0], activations[entries], decoder, upstream[level])
    squares, sums = torch.linalg.vector_norm(upstream.view(n_levels, -1), dim=1).square(), upstream.sum(1)
    upstream.mul_(weights.view(-1, 1, 1))
    for level in reversed(range(n_levels)):
        if level + 1 < n_levels:
            upstream[level].add_(upstream[level + 1])
        slopes[own[level][1]] = sampled(own[level][0], upstream[level], decoder)
    return Nested(squares, sums, upstream, slopes)


def _csr(pattern: Pattern, values: Tensor) -> Tensor:
    offsets, columns, n_columns = pattern
    index = torch.int32 if len(values) <= torch.iinfo(torch.int32).max else torch.int64  # torch wants one type for both
    shape = (len(offsets) - 1, n_columns)
    return torch.sparse_csr_tensor(offsets.to(index), columns.to(index), values, shape, check_invariants=False)
