"""The random dictionary: unit directions that know nothing of the features but their mean."""

import torch

from sae import TensorSource
from sae.baselines import random_dictionary


def test_the_k_largest_positive_projections_are_active(generator):
    x = 3 * torch.randn(200, 10, generator=generator) + 5
    dictionary = random_dictionary(TensorSource(x), 60, k=4, seed=3)
    codes = dictionary.encode(x)
    projections = (x.double() - x.double().mean(0)) @ dictionary.directions.double().t()
    assert codes.counts().tolist() == [4] * 200
    own = projections.gather(1, codes.concepts.long().view(200, 4))
    torch.testing.assert_close(codes.activations.view(200, 4).double(), own, rtol=0, atol=1e-4)
    largest = projections.topk(4, dim=1).values
    torch.testing.assert_close(own.sort(dim=1, descending=True).values, largest, rtol=0, atol=1e-4)


def test_directions_are_unit_and_follow_from_the_seed(generator):
    one, other = (TensorSource(torch.randn(50, 10, generator=generator)) for _ in range(2))
    directions = random_dictionary(one, 40, k=2, seed=1).directions
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(40))
    assert torch.equal(directions, random_dictionary(other, 40, k=2, seed=1).directions)
    assert not torch.equal(directions, random_dictionary(one, 40, k=2, seed=2).directions)
