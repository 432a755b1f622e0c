"""Exchanges between the processes that share something: a group of one, and one of many over torch.distributed.

All ranks of a group have to call the same methods in the same order; what comes back is the same bits on every rank, so
decisions that rest on it are taken alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import InsightError

_SMALL = 2**20
"""Numbers; exchanging so many takes longer than copying them beside each other."""
_SHOWN = 150
"""Characters of what torch says of a broken connection."""
_LONGEST_MESSAGE = 2000
"""Bytes of a failure's message that reach the other ranks."""


class Gathered(NamedTuple):
    """Rows of all ranks, one rank after the other."""

    rows: Tensor
    own: slice
    """Where this rank's are."""


class Group:
    """A single process: it has everything, and nothing is exchanged."""

    rank = 0
    size = 1

    def share(self, n: int) -> slice:
        """Which of n things this rank has: contiguous shares that differ by at most one."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def sum_(self, tensor: Tensor) -> Tensor:
        """`tensor` summed over ranks, in place."""
        return tensor

    def sums(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Small tensors of one type summed over ranks, in one exchange."""
        return tensors

    def average_(self, tensors: Sequence[Tensor], share: float = 1.0) -> None:
        """Tensors of one type summed over ranks in place, this one's times `share` (shares that add up to 1 average).

        Small ones go in one exchange.
        """

    def minimum_(self, tensor: Tensor) -> Tensor:
        """The least of all ranks, entry by entry, in place."""
        return tensor

    def gather(self, rows: Tensor) -> Gathered:
        """Rows [r, ...] of all ranks; r may differ."""
        return Gathered(rows, slice(None))

    def smallest(self, values: Tensor) -> float | None:
        """The least value of any rank; None when there is none."""
        return float(values.min()) if values.numel() else None

    def count(self, number: int) -> int:
        """Sum of one number a rank."""
        return number

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """The largest of all ranks, number by number."""
        return list(numbers)

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all ranks leave at once, or none: when it fails on one, `InsightError` on all others says how.

        Nothing is to be exchanged within it.
        """
        yield


class ProcessGroup(Group):
    """All processes of torch.distributed's default group.

    `tensors` exchanges what is on the device, `control` (gloo) what is decided on the host, without waiting for the
    device. `InsightError` when another rank is gone or does not answer in time.
    """

    def __init__(self, tensors: dist.ProcessGroup, control: dist.ProcessGroup) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._tensors, self._control = tensors, control

    def sum_(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, dist.ReduceOp.SUM)

    def sums(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        packed = self.sum_(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        parts = packed.split([tensor.numel() for tensor in tensors])
        return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors))

    def average_(self, tensors: Sequence[Tensor], share: float = 1.0) -> None:
        for tensor in tensors:
            tensor.mul_(share)
        small = [tensor for tensor in tensors if tensor.numel() <= _SMALL]
        for tensor in tensors:
            if tensor.numel() > _SMALL:
                self.sum_(tensor)
        for tensor, total in zip(small, self.sums(*small) if small else ()):
            tensor.copy_(total)

    def minimum_(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, dist.ReduceOp.MIN)

    def gather(self, rows: Tensor) -> Gathered:
        lengths = self._numbers(len(rows))
        if not max(lengths):
            return Gathered(rows, slice(None))
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in lengths]
        self._call(dist.all_gather, parts, padded, group=self._tensors)
        begin = sum(lengths[: self.rank])
        every = torch.cat([part[:length] for part, length in zip(parts, lengths)])
        return Gathered(every, slice(begin, begin + len(rows)))

    def smallest(self, values: Tensor) -> float | None:
        least = values.min().view(1) if values.numel() else values.new_full((1,), torch.inf)
        found = float(self.minimum_(least))
        return None if found == float("inf") else found

    def count(self, number: int) -> int:
        return sum(self._numbers(number))

    def largest(self, numbers: Sequence[int]) -> list[int]:
        found = torch.tensor(numbers, dtype=torch.int64)
        self._call(dist.all_reduce, found, dist.ReduceOp.MAX, group=self._control)
        return found.tolist()

    @contextmanager
    def together(self) -> Iterator[None]:
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        if self.largest([failure is not None])[0]:
            self._end_all(failure)

    def _end_all(self, failure: Exception | None) -> None:
        text = f"{failure}" if isinstance(failure, InsightError) else f"{type(failure).__name__}: {failure}"
        encoded = text.encode()[:_LONGEST_MESSAGE] if failure else b""
        message = torch.zeros(_LONGEST_MESSAGE, dtype=torch.uint8)
        message[: len(encoded)] = torch.tensor(list(encoded), dtype=torch.uint8)
        messages = [torch.empty_like(message) for _ in range(self.size)]
        self._call(dist.all_gather, messages, message, group=self._control)
        if failure:
            raise failure
        texts = (bytes(one.tolist()).rstrip(b"\0").decode(errors="replace") for one in messages)
        raise InsightError(next(f"rank {rank} failed: {text}" for rank, text in enumerate(texts) if text))

    def _reduced(self, tensor: Tensor, operation: Any) -> Tensor:
        self._call(dist.all_reduce, tensor, operation, group=self._tensors)
        return tensor

    def _numbers(self, number: int) -> list[int]:
        """One number of each rank."""
        own = torch.tensor([number])
        found = [torch.empty_like(own) for _ in range(self.size)]
        self._call(dist.all_gather, found, own, group=self._control)
        return [int(one) for one in found]

    def _call(self, exchange: Callable[..., Any], *arguments: Any, group: dist.ProcessGroup) -> None:
        try:
            exchange(*arguments, group=group)
        except RuntimeError as error:
            why = str(error).partition("\n")[0][:_SHOWN]
            raise InsightError(
                f"rank {self.rank}: another rank stopped or does not answer ({why}); see its own message"
            ) from error
