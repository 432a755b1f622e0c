"""The information bottleneck of M2IB: how much of each token a score needs, in nats, for either tower.

In: tokens [P, N, width] of P pairs where the model is cut, and the score of a pair as a function of what goes on from
there. Out: [P, N], the information that gets through at each token.

A mask lambda = sigmoid(alpha), one number for each value of each token, mixes a value with noise of N(0, sigma^2):

    z~ = lambda z + (1 - lambda) eps
    KL(N(lambda z, (1 - lambda)^2 sigma^2) || N(0, sigma^2))
        = -1/2 [1 + log (1 - lambda)^2 - (lambda z / sigma)^2 - (1 - lambda)^2]

and Adam minimises  beta mean KL - mean score  over alpha. Source: Wang et al., "Visual Explanations of Image-Text
Representations via Multi-Modal Information Bottleneck Attribution" (M2IB, NeurIPS 2023), whose published code has
sigma = 1 whatever is asked for. log(1 - lambda) is computed from alpha, not from lambda, so that a mask that opens
wholly has a large finite KL with a gradient that leads back, where the published form overflows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

START = 5.0
"""alpha at the start: 99.3 % of every value gets through."""


def information(
    z: Float[Tensor, "P N width"],
    score: Callable[[Float[Tensor, "P S N width"]], Float[Tensor, "P S"]],
    noises: Iterable[Float[Tensor, "S N width"]],
    counted: Bool[Tensor, "P N"],
    beta: float,
    sigma: float,
    lr: float,
) -> Float[Tensor, "P N"]:
    """Nats at each token after one Adam step for each of `noises`: KL summed over the width, 0 where not `counted`.

    score: of S noisy copies of each pair, a pair by itself. noises: draws of N(0, sigma^2), the same for every pair, on
    any device. counted: the tokens that a bottleneck stands at; the others (padding) get through as they are and
    enter no mean. Losses are summed over the pairs, and Adam acts on each number alone: pairs do not see each other.
    Computed in float32 at least, whatever the model's own precision; gradients are taken also under `no_grad`.
    """
    exact = z.detach().to(torch.promote_types(z.dtype, torch.float32))
    share = counted / (counted.sum(dim=1, keepdim=True).clamp_min(1) * z.shape[2])
    with torch.enable_grad():
        alpha = torch.full_like(exact, START, requires_grad=True)
        adam = torch.optim.Adam([alpha], lr=lr)
        for noise in noises:
            opened = alpha.sigmoid().masked_fill(~counted[..., None], 1.0)
            mixed = torch.lerp(noise.to(exact)[None], exact[:, None], opened[:, None])
            kept = (_divergence(alpha, exact / sigma).sum(dim=2) * share).sum()
            loss = beta * kept - score(mixed.to(z.dtype)).mean(dim=1).sum()
            (alpha.grad,) = torch.autograd.grad(loss, [alpha])
            adam.step()
    return _divergence(alpha.detach(), exact / sigma).sum(dim=2).masked_fill(~counted, 0.0)


def _divergence(alpha: Tensor, z: Tensor) -> Tensor:
    """KL of each value in nats, z in units of sigma: the formula above, sorted so that nothing is lost near 0."""
    opened = alpha.sigmoid()
    return 0.5 * opened.square() * (1 + z.square()) - opened - F.logsigmoid(-alpha)
