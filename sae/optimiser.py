"""Adam on the four weights, with decoder rows held at unit length."""

from __future__ import annotations

import torch
from torch import Tensor

from .weights import Weights

_NAMES = Weights._fields
_MAX_NORM = 1.0
_BETAS = (0.9, 0.999)


class Optimiser:
    """Published update: drop the gradient along each decoder row, clip to norm 1, Adam, renormalise the rows."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._parameters = [torch.nn.Parameter(weight) for weight in weights]  # share memory with `weights`
        self._adam = torch.optim.Adam(self._parameters, betas=_BETAS, fused=True)

    @torch.no_grad()
    def step(self, gradients: Weights, step_size: float) -> None:
        """Update the weights in place. The decoder's gradient is overwritten."""
        decoder = self.weights.decoder
        along = (gradients.decoder * decoder).sum(1, keepdim=True)
        gradients.decoder.addcmul_(along, decoder, value=-1)
        for parameter, gradient in zip(self._parameters, gradients):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(self._parameters, _MAX_NORM)
        for group in self._adam.param_groups:
            group["lr"] = step_size
        self._adam.step()
        decoder.div_(torch.linalg.vector_norm(decoder, dim=1, keepdim=True))

    def tensors(self) -> dict[str, Tensor]:
        """Weights and Adam's state, by name."""
        named = dict(zip(_NAMES, self.weights))
        for name, parameter in zip(_NAMES, self._parameters):
            named |= {f"{name}.{key}": value for key, value in self._adam.state[parameter].items()}
        return named

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Optimiser:
        """What `tensors` gave, at work again."""
        optimiser = cls(Weights(*(tensors[name] for name in _NAMES)))
        for name, parameter in zip(_NAMES, optimiser._parameters):
            state = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
            optimiser._adam.state[parameter] = state
        return optimiser
