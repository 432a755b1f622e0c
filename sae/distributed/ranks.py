"""How the processes of one run share its work, and how they find each other (torchrun)."""

from __future__ import annotations

import atexit
import os
import time
from datetime import timedelta
from functools import cache
from typing import Literal, NamedTuple, get_args

import torch
import torch.distributed as dist

from ..errors import InsightError
from .group import Group, ProcessGroup

Parallel = Literal["data", "concepts"]
"""What the processes divide: the tokens of each batch, or the concepts of the dictionary."""
_TIMEOUT = timedelta(minutes=10)
_LET_GO = 0.1
"""Seconds in which gloo's threads let go of their last tensors: older torch waits for them holding what they need."""


class Ranks(NamedTuple):
    """The groups that a training step speaks to. At most one of them is more than this process."""

    tokens: Group
    """Ranks that share each batch. Every one has all concepts; shares are contiguous and in the order of ranks."""
    concepts: Group
    """Ranks that share the dictionary. Every one sees all tokens; slices are contiguous and in the order of ranks."""

    @property
    def everyone(self) -> Group:
        return self.tokens if self.tokens.size > 1 else self.concepts


ALONE = Ranks(Group(), Group())


def ranks_of(parallel: Parallel, device: torch.device) -> Ranks:
    """All processes that torchrun started, or that the caller has put into torch.distributed's default group.

    `ALONE` in a single process. Tensors on `device` go by NCCL on CUDA and by gloo elsewhere.
    """
    if parallel not in get_args(Parallel):
        raise InsightError(f"train: expected parallel to be one of {get_args(Parallel)}, found {parallel}")
    if not dist.is_available():
        return ALONE
    if not dist.is_initialized() and dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
        atexit.register(leave)
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return ALONE
    world = dist.group.WORLD
    assert world is not None
    control = world if dist.get_backend() == "gloo" else _control(world)
    every = ProcessGroup(world if device.type == "cuda" else control, control)
    return Ranks(every, Group()) if parallel == "data" else Ranks(Group(), every)


def local_device(device: torch.device) -> torch.device:
    """`device`, and of several GPUs the one that torchrun's numbering of this machine's processes gives this one."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


@cache
def _control(world: dist.ProcessGroup) -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=_TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)
    return group


def leave() -> None:
    """Part from the other processes. Without it a process of recent torch may end with an abort."""
    if dist.is_initialized():
        time.sleep(_LET_GO)
        dist.destroy_process_group()
