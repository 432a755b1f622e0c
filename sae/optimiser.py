"""Adam on the four weights and what is learnt beside them, with decoder rows held at unit length.

An archetypal dictionary is worked out from parameters of its own: they are trained in the place of the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .archetypal import Archetypal
from .distributed import ALONE, Group
from .weights import Weights

_NOT_OF_CONCEPTS = ("decoder_bias", "log_scale")


class Optimiser:
    """Published update: drop the gradient along each decoder row, clip to norm 1, Adam, renormalise the rows."""

    def __init__(
        self,
        weights: Weights,
        own: Mapping[str, Tensor] | None = None,
        concepts: Group = ALONE.concepts,
        *,
        atoms: Archetypal | None = None,
        step_scales: Mapping[str, float] | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        max_norm: float | None = 1.0,
    ) -> None:
        """`own`: what a rule of selection learns, by name, with `step_scales` of step sizes; `concepts`: the ranks that
        share them, a norm being that of the gradients of all; `atoms`: what the decoder follows from."""
        self.weights, self._concepts, self._atoms, self._max_norm = weights, concepts, atoms, max_norm
        trained = {**weights._asdict(), **(own or {})}
        if atoms:
            del trained["decoder"]
            trained |= atoms.parameters
        self._parameters = {name: torch.nn.Parameter(value) for name, value in trained.items()}  # memory is shared
        scales = {**(step_scales or {}), **(atoms.step_scales if atoms else {})}
        scale_of = {name: scales.get(name, 1.0) for name in trained}
        self._scales = sorted(set(scale_of.values()))
        groups = [
            {"params": [parameter for name, parameter in self._parameters.items() if scale_of[name] == scale]}
            for scale in self._scales
        ]
        self._adam = torch.optim.Adam(groups, betas=betas, fused=True)

    @torch.no_grad()
    def step(self, gradients: Weights, step_size: float, own: Mapping[str, Tensor] | None = None) -> None:
        """Update all parameters in place; `own`: gradients of what the rule learns. All gradients are overwritten."""
        decoder = self.weights.decoder
        found = {**gradients._asdict(), **(own or {})}
        if self._atoms:
            found |= self._atoms.gradients(decoder, gradients.decoder)
        else:
            along = (gradients.decoder * decoder).sum(1, keepdim=True)
            gradients.decoder.addcmul_(along, decoder, value=-1)
        found = {name: found[name] for name in self._parameters}
        for name, parameter in self._parameters.items():
            parameter.grad = found[name]
        if self._max_norm is not None:
            torch._foreach_mul_(list(found.values()), (self._max_norm / (self._norm(found) + 1e-6)).clamp(max=1.0))
        for group, scale in zip(self._adam.param_groups, self._scales):
            group["lr"] = scale * step_size
        self._adam.step()
        if self._atoms:
            self._atoms.hold()
            decoder.copy_(self._atoms.decoder())
        else:
            decoder.div_(torch.linalg.vector_norm(decoder, dim=1, keepdim=True))

    def _norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """[]: of all gradients together, those of other ranks' concepts included."""
        squares = {name: torch.linalg.vector_norm(gradient).square() for name, gradient in gradients.items()}
        common = torch.stack([squares.pop(name) for name in _NOT_OF_CONCEPTS if name in squares]).sum()
        return (self._concepts.sum_(torch.stack(list(squares.values())).sum()) + common).sqrt()

    @torch.no_grad()
    def forget(self, concepts: Tensor) -> None:
        """Adam's memory of these concepts [n], as if they had just begun."""
        for name, parameter in self._parameters.items():
            if name not in _NOT_OF_CONCEPTS:
                for key in ("exp_avg", "exp_avg_sq"):
                    self._adam.state[parameter][key][concepts] = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Weights, what is learnt beside them, and Adam's state, by name."""
        named: dict[str, Tensor] = {**self.weights._asdict()}
        for name, parameter in self._parameters.items():
            named[name] = parameter.detach()
            named |= {f"{name}.{key}": value for key, value in self._adam.state[parameter].items()}
        return named

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Adam's state, from what `tensors` gave of the same parameters."""
        for name, parameter in self._parameters.items():
            state = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
            self._adam.state[parameter] = state
