"""The product that no step can avoid, alone: a batch times the encoder, into memory that is there already."""

from __future__ import annotations

import torch

from benchmarks.peers.yardstick import Clock, Dictionary, Task, main

ARCHITECTURES = ("float32", "bfloat16")


def train(task: Task, clock: Clock) -> Dictionary:
    """Times the product in the precision that `task.arch` names; the dictionary is a random one."""
    dtype = getattr(torch, task.arch)
    dim = clock.features.shape[1]
    encoder = torch.nn.functional.normalize(torch.randn(task.m, dim), dim=1)
    x, weight, bias = clock.features[: task.batch].to(dtype), encoder.to(dtype), torch.zeros(task.m, dtype=dtype)
    out = torch.empty(task.batch, task.m, dtype=dtype)
    for _ in clock:
        torch.addmm(bias, x, weight.t(), out=out)
    return Dictionary(encoder, encoder, torch.zeros(task.m), clock.features[: task.batch].mean(0))


if __name__ == "__main__":
    main(ARCHITECTURES, train)
