"""Where training starts: unit random directions, encoder tied to decoder, bias at the middle of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import BiasStart, SaeConfig
from .weights import Weights

_DRAWN_ROWS = 2**14


def initial_weights(
    config: SaeConfig,
    first_batch: Tensor,
    seed: int,
    bias_start: BiasStart = "geometric_median",
    concepts: slice = slice(None),
) -> Weights:
    """Published start: decoder Kaiming-uniform with unit rows, W_enc = W_dec, b_enc = 0, b_dec the geometric median.

    `first_batch` [n, d] gives the median, or another `bias_start`; the directions depend on `seed` alone, not on the
    device. `concepts`: which of them to give, with the same directions as among all.
    """
    begin, end, _ = concepts.indices(config.n_concepts)
    generator, own = torch.Generator().manual_seed(seed), []
    for first in range(0, end, _DRAWN_ROWS):  # some at a time, since all may be more than one process can hold
        drawn = torch.empty(min(_DRAWN_ROWS, end - first), config.dim)
        own.append(torch.nn.init.kaiming_uniform_(drawn, generator=generator)[max(0, begin - first) :])
    decoder = torch.nn.functional.normalize(torch.cat(own), dim=1).to(first_batch.device)
    bias = decoder.new_zeros(end - begin)
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
