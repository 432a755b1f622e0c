"""Resampling: dead concepts start anew at tokens that are badly reconstructed.

As in "Towards Monosemanticity" (Bricken et al. 2023, appendix): tokens are drawn with probability in proportion to
their squared loss, the concept's decoder row becomes the token's direction, its encoder row the same at a share of the
living rows' mean norm (`Rule.revived_size`), its bias 0. What Adam remembers of them is for the caller to forget.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .weights import Weights


def resample(
    weights: Weights, centred: Tensor, residual: Tensor, dead: Tensor, size: float, seed: int, step: int
) -> bool:
    """Give the rows of `dead` concepts (int64) new directions in place; False where no token says which.

    centred = x - b_dec [n, d]; residual = x̂ - x [n, d]; `size`: of encoder rows, as a share of the living. The draw
    follows from `seed` and `step`.
    """
    squares = residual.double().square().sum(1).square()
    squares[torch.linalg.vector_norm(centred, dim=1) == 0] = 0.0  # a token without direction
    possible = int((squares > 0).sum())
    if possible == 0 or not len(dead):
        return False
    shares = (squares / squares.sum()).cpu().numpy()
    random = np.random.default_rng([seed % 2**64, step])
    drawn = random.choice(len(shares), size=len(dead), p=shares, replace=len(dead) > possible)
    directions = torch.nn.functional.normalize(centred[torch.from_numpy(drawn).to(dead.device)], dim=1)
    living = torch.ones(len(weights.encoder), dtype=torch.bool, device=dead.device)
    living[dead] = False
    norms = torch.linalg.vector_norm(weights.encoder, dim=1)
    norm = norms[living].mean() if bool(living.any()) else norms.new_ones(())
    weights.decoder[dead] = directions
    weights.encoder[dead] = size * norm * directions
    weights.encoder_bias[dead] = 0.0
    return True
