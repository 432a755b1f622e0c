"""The activation rules of the toolkits in float64, and the comparison of an imported autoencoder with them."""

from typing import NamedTuple

import torch
from torch import Tensor

from sae import SparseAutoencoder

_MARGIN = 1e-4


class Chosen(NamedTuple):
    """Dense activations [n, m], and which tokens [n] are decided by more than float32 can blur."""

    activations: Tensor
    decided: Tensor


def above(u: Tensor, threshold: Tensor | float) -> Chosen:
    """u where it is positive and above the threshold."""
    edge = torch.as_tensor(threshold, dtype=u.dtype).clamp_min(0)
    return Chosen(torch.where(u > edge, u, 0.0), ((u - edge).abs() > _MARGIN).all(1))


def gated(gate: Tensor, magnitude: Tensor) -> Chosen:
    """ReLU(magnitude) where the gate is positive."""
    clear = (gate.abs() > _MARGIN) & (magnitude.abs() > _MARGIN)
    return Chosen(torch.where(gate > 0, magnitude.relu(), 0.0), clear.all(1))


def largest(u: Tensor, k: int) -> Chosen:
    """The k largest of each token, if positive."""
    order = u.relu().sort(1, descending=True)
    kept = torch.zeros_like(u).scatter(1, order.indices[:, :k], order.values[:, :k])
    return Chosen(kept, (order.values[:, k - 1] - order.values[:, k]).abs() > _MARGIN)


def random(generator: torch.Generator, *shape: int, scale: float = 1.0) -> Tensor:
    """float32, as files have it."""
    return scale * torch.randn(shape, generator=generator)


def assert_alike(found: Tensor, expected: Tensor) -> None:
    """Two float32 results [n, m] are the same, but for a token in 50 whose concepts rounding may have decided."""
    assert 0 < int((expected > 0).sum()) < expected.numel()
    same = torch.isclose(found, expected, rtol=1e-4, atol=1e-4).all(1)
    assert same.float().mean() >= 0.98


def assert_same(sae: SparseAutoencoder, x: Tensor, chosen: Chosen, reconstructions: Tensor) -> None:
    """Codes and reconstructions of `sae` are the expected ones; some concepts are active and some are not."""
    assert chosen.decided.float().mean() > 0.7
    expected = chosen.activations[chosen.decided]
    assert 0 < int((expected > 0).sum()) < expected.numel()
    x = x.float()[chosen.decided]
    codes = sae.encode(x).dense().double()
    assert torch.equal(codes > 0, expected > 0)
    torch.testing.assert_close(codes, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        found = sae(x).double()
    torch.testing.assert_close(found, reconstructions[chosen.decided], rtol=1e-4, atol=2e-4)
