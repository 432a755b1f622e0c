"""The published start of training."""

import pytest
import torch

from sae.config import SaeConfig
from sae.initial import geometric_median, initial_weights


def test_weights_start_tied_with_unit_rows_and_no_encoder_bias(generator):
    x = torch.randn(50, 6, generator=generator)
    weights = initial_weights(SaeConfig(6, 200, 3), x, seed=4)
    torch.testing.assert_close(weights.decoder.norm(dim=1), torch.ones(200))
    assert torch.equal(weights.encoder, weights.decoder)
    assert weights.encoder.data_ptr() != weights.decoder.data_ptr()
    assert weights.encoder_bias.eq(0).all()
    assert torch.equal(weights.decoder_bias, geometric_median(x))


def test_directions_follow_the_seed_alone(generator):
    x, config = torch.randn(50, 6, generator=generator), SaeConfig(6, 200, 3)
    state = torch.random.get_rng_state()
    first, again, other = (initial_weights(config, x, seed).decoder for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_geometric_median_has_the_least_summed_distance(generator, scale):
    points = torch.randn(301, 4, generator=generator, dtype=torch.float64)
    points[:60] += 50  # outliers draw the mean, not the median
    points *= scale

    def summed(point):
        return float((points - point).norm(dim=1).sum())

    median = geometric_median(points).double()
    least = summed(median)
    for step in torch.randn(20, 4, generator=generator, dtype=torch.float64):
        assert summed(median + 0.1 * scale * step) > least
    pull = torch.nn.functional.normalize(points - median, dim=1).mean(0)
    assert float(pull.norm()) < 1e-3


def test_degenerate_points_have_a_median_too():
    point = torch.tensor([1.0, -2.0, 0.0])
    for points in (point[None], point.repeat(5, 1), torch.zeros(4, 3)):
        assert torch.equal(geometric_median(points), points[0])
    on_a_point = torch.tensor([[0.0], [0.0], [0.0], [9.0]])
    assert float(geometric_median(on_a_point).abs()) < 1e-3
