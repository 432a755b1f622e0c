"""Writers that torchrun started together: who they are, and how they wait for each other."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist

from sae.distributed import Group, ranks_of
from sae.distributed.group import ProcessGroup

_PATIENCE = timedelta(days=30)  # one rank may be done long before another


def everyone(device: torch.device) -> Group:
    """All processes of this run; a group of one where there is only this one. Its exchanges wait for days."""
    joined = ranks_of("data", device).everyone
    return joined if joined.size == 1 else _patient(dist.group.WORLD)


@cache
def _patient(world: dist.ProcessGroup) -> Group:
    group = dist.new_group(backend="gloo", timeout=_PATIENCE)
    assert isinstance(group, dist.ProcessGroup)
    return ProcessGroup(group, group)
