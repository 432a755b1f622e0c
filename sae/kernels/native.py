"""The kernels in compiled C, for float32 on the CPU: how native.c is found and called."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache

import torch
from torch import Tensor

from .types import Nested, Pattern


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled file; None where it was not built, or where torch brings no OpenMP that it can share."""
    spec = importlib.util.find_spec("sae.kernels._native")
    try:
        library = ctypes.CDLL(spec.origin) if spec and spec.origin else None
    except OSError:
        return None
    if library is not None:
        library.above.restype = ctypes.c_int64
    return library


def is_built() -> bool:
    """Whether these kernels can be called on this machine."""
    return _library() is not None


def _call(name: str, *arguments: Tensor | int | float) -> int:
    """Tensors go as addresses (they must be contiguous, and of the type that the C code expects), numbers as int64 and
    double."""
    return getattr(_library(), name)(*map(_plain, arguments))


def _plain(argument: Tensor | int | float) -> ctypes.c_int64 | ctypes.c_double | ctypes.c_void_p:
    if isinstance(argument, Tensor):
        assert argument.is_contiguous()
        return ctypes.c_void_p(argument.data_ptr())
    return ctypes.c_int64(argument) if isinstance(argument, int) else ctypes.c_double(argument)


def above(scores: Tensor, rows: Tensor, columns: Tensor) -> tuple[Pattern, Tensor]:
    """See `kernels.above`."""
    (n, m), low = scores.shape, int(scores.dtype == torch.bfloat16)
    offsets, places, values = (
        torch.empty(n + 1, dtype=torch.int64),
        torch.empty(n * m, dtype=torch.int32),
        torch.empty(n * m),
    )
    found = _call("above", scores, low, rows, columns, n, m, offsets, places, values)
    return Pattern(offsets, places[:found], m), values[:found]


def add_product(pattern: Pattern, values: Tensor, dense: Tensor, out: Tensor) -> None:
    """See `kernels.add_product`."""
    offsets, columns, _ = pattern
    _call("add_product", offsets, columns, values, len(out), dense, out.shape[1], out)


def sampled(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """See `kernels.sampled`."""
    offsets, columns, _ = pattern
    products = torch.empty(len(columns))
    _call("sampled", offsets, columns, len(left), left, right, left.shape[1], products)
    return products


def by_column(columns: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """See `kernels.by_column`."""
    offsets, order = torch.empty(m + 1, dtype=torch.int64), torch.empty(len(columns), dtype=torch.int64)
    _call("by_column", columns, len(columns), m, offsets, order)
    return offsets, order


def rounded(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.rounded`."""
    low, squares = torch.empty(x.shape, dtype=torch.bfloat16), torch.empty(len(x), 2)
    _call("rounded", x, len(x), x.shape[1], low, squares)
    norms = squares.sqrt_()
    return low, norms[:, 0], norms[:, 1]


def keep_largest(x: Tensor, k: int) -> None:
    """See `kernels.keep_largest`."""
    _call("keep_largest", x, int(x.dtype == torch.bfloat16), len(x), x.shape[1], k)


def floors(scores: Tensor, columns: Tensor, k: int, rounding: float) -> Tensor:
    """See `kernels.floors`."""
    (n, m), low, threads = scores.shape, int(scores.dtype == torch.bfloat16), torch.get_num_threads()
    found = torch.empty(n)
    _call("floors", scores, low, float(rounding), columns, n, m, k, threads, torch.empty(threads, m), found)
    return found


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
    offsets, concepts, _ = pattern
    (n, d), n_levels, threads = centred.shape, len(weights), torch.get_num_threads()
    scratch, slopes = torch.empty(threads, d), torch.empty(len(concepts))
    squares, sums = torch.zeros(threads, n_levels, dtype=torch.float64), torch.zeros(threads, n_levels, d)
    tokens = (offsets, concepts, levels, activations, n, decoder, centred, d)
    _call("nested", *tokens, weights, n_levels, threads, scratch, squares, sums, upstream, slopes)
    return Nested(squares.sum(0).float(), sums.sum(0), upstream, slopes)
