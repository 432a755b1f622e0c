"""What is done to a token before it is encoded, and how it is undone on a reconstruction (`SaeConfig.inputs`)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .config import Inputs


class Normalised(NamedTuple):
    """Tokens ready to be encoded. What was taken from them: x = tokens * scale + shift."""

    tokens: Tensor
    """[n, d]"""
    scale: Tensor
    """[n, 1]; 1 where a token was constant (or zero) and could not be divided."""
    shift: Tensor
    """[n, 1]"""

    def undo(self, reconstructions: Tensor) -> Tensor:
        """Reconstructions [n, d] of `tokens` as reconstructions of what `normalise` was given."""
        return reconstructions * self.scale + self.shift


def normalise(x: Tensor, inputs: Inputs) -> Normalised:
    """Tokens x [n, d] as `inputs` wants them: as they are, of unit norm, or of mean 0 and standard deviation 1 each.

    The deviation is the biased one (over d, not d - 1).
    """
    shift, scale = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
    if inputs == "raw":
        return Normalised(x, scale, shift)
    if inputs == "layer_norm":
        shift = x.mean(1, keepdim=True)
        x = x - shift
    size = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    if inputs == "layer_norm":
        size = size / x.shape[1] ** 0.5
    scale = torch.where(size > torch.finfo(x.dtype).tiny, size, 1.0)
    return Normalised(x / scale, scale, shift)
