"""A model while gradients of its inputs are asked for: in evaluation mode and without gradients of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """No dropout and no weight gradients inside; the mode of every module and `requires_grad` of every weight are put
    back at the end, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in learnt:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training
