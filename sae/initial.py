"""Where training starts: unit random directions, encoder tied to decoder, bias at the middle of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import BiasStart, SaeConfig
from .weights import Weights


def initial_weights(
    config: SaeConfig, first_batch: Tensor, seed: int, bias_start: BiasStart = "geometric_median"
) -> Weights:
    """Published start: decoder Kaiming-uniform with unit rows, W_enc = W_dec, b_enc = 0, b_dec the geometric median.

    `first_batch` [n, d] gives the median, or another `bias_start`; the directions depend on `seed` alone, not on the
    device.
    """
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.init.kaiming_uniform_(torch.empty(config.n_concepts, config.dim), generator=generator)
    decoder = torch.nn.functional.normalize(decoder, dim=1).to(first_batch.device)
    bias = decoder.new_zeros(config.n_concepts)
    return Weights(decoder.clone(), decoder, bias, _middle(first_batch, bias_start))


def _middle(points: Tensor, bias_start: BiasStart) -> Tensor:
    """[d]: where points [n, d] are, in one sense or another."""
    if bias_start == "zero":
        return points.new_zeros(points.shape[1])
    return geometric_median(points) if bias_start == "geometric_median" else points.double().mean(0).float()


def geometric_median(points: Tensor, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
    """[d]: the point of least summed distance to points [n, d], by Weiszfeld's iteration in float64.

    Stops when it moves by less than `tolerance` of the mean distance.
    """
    points = points.double()
    guess = points.mean(0)
    for _ in range(iterations):
        distance = torch.linalg.vector_norm(points - guess, dim=1)
        mean_distance = distance.mean()
        # A point that the guess sits on would weigh infinitely; it may only weigh a lot.
        weight = 1 / distance.clamp_min(1e-9 * mean_distance + torch.finfo(points.dtype).tiny)
        moved = (weight / weight.sum()) @ points - guess
        guess = guess + moved
        if float(torch.linalg.vector_norm(moved)) <= tolerance * float(mean_distance):
            break
    return guess.float()
