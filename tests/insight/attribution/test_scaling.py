"""Standardised maps go from 0 to 1, constant ones are 0, and gradients are those of the formula."""

import numpy as np
import torch

from insight.attribution.scaling import standardised


def test_each_map_goes_from_0_to_1() -> None:
    maps = 100 * torch.randn(2, 3, 5, 4)
    found = standardised(maps)
    for one, own in zip(maps.flatten(0, 1).double().numpy(), found.flatten(0, 1).numpy(), strict=True):
        np.testing.assert_allclose(own, (one - one.min()) / (one.max() - one.min() + 1e-8), atol=1e-6)


def test_a_constant_map_is_nothing() -> None:
    assert torch.equal(standardised(torch.full((1, 3, 3), 7.0)), torch.zeros(1, 3, 3))


def test_gradients_are_those_of_the_formula() -> None:
    maps = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(standardised, (maps,))
    assert torch.autograd.gradgradcheck(standardised, (maps,))
