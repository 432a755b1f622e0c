"""The encode product is searched without ever missing a pair, also when bfloat16 is only its screen."""

import pytest
import torch

import sae.preactivations
from sae.preactivations import Preactivations
from sae.weights import Weights


def random_weights(generator, m, d, spread=0.0):
    """Encoder rows whose norms differ by a factor of up to e^spread."""
    encoder = torch.randn(m, d, generator=generator) * (spread * torch.rand(m, 1, generator=generator)).exp()
    return Weights(encoder, encoder, torch.randn(m, generator=generator), torch.zeros(d))


def exact(weights, x):
    return x.double() @ weights.encoder.double().t() + weights.encoder_bias.double()


@pytest.fixture(params=[False, True], ids=["float32", "screen"])
def screened(request, monkeypatch):
    monkeypatch.setattr(sae.preactivations, "multiplies_bfloat16_fast", lambda device: request.param)
    return request.param


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (1, 300, 8), (70, 33, 64), (50, 400, 513)])
@pytest.mark.parametrize("spread", [0.0, 4.0])
@pytest.mark.parametrize("mean", [0.0, 10.0])
def test_no_pair_above_the_floor_is_missed(screened, generator, n, m, d, spread, mean):
    weights, x = random_weights(generator, m, d, spread), torch.randn(n, d, generator=generator) + mean
    u = exact(weights, x)
    for floor in (0.0, float(u.quantile(0.9)), torch.randn(m, generator=generator) * 10.0):
        found = Preactivations(weights, x).above(floor)
        places = torch.zeros(n, m, dtype=torch.bool)
        rows = torch.repeat_interleave(torch.arange(n), found.pattern.offsets.diff())
        places[rows, found.pattern.columns.long()] = True
        slack = 1e-5 * float(x.norm(dim=1).max() * weights.encoder.norm(dim=1).max())
        assert not ((u > floor + slack) & ~places).any()
        torch.testing.assert_close(found.values.double(), u[places], rtol=1e-5, atol=slack)


def test_the_screen_would_miss_pairs_without_its_radius(generator, monkeypatch):
    weights, x = random_weights(generator, 500, 64), torch.randn(200, 64, generator=generator)
    monkeypatch.setattr(sae.preactivations, "multiplies_bfloat16_fast", lambda device: True)
    rounded = x.bfloat16().float() @ weights.encoder.bfloat16().float().t() + weights.encoder_bias
    floor = float(exact(weights, x).quantile(0.95))
    assert ((exact(weights, x) > floor) & (rounded <= floor)).any()


def test_the_shortlist_is_hardly_longer_than_needed(generator, monkeypatch):
    weights, x = random_weights(generator, 2000, 512), torch.randn(100, 512, generator=generator)
    monkeypatch.setattr(sae.preactivations, "multiplies_bfloat16_fast", lambda device: True)
    u = exact(weights, x)
    floor = float(u.quantile(0.99))
    assert len(Preactivations(weights, x).above(floor).values) < 1.5 * int((u > floor).sum())


def test_tiles_change_nothing(screened, generator, monkeypatch):
    weights, x = random_weights(generator, 40, 16), torch.randn(57, 16, generator=generator)
    whole = Preactivations(weights, x).above(0.5)
    monkeypatch.setitem(sae.preactivations._TILE_ENTRIES, "cpu", 400)
    tiled = Preactivations(weights, x).above(0.5)
    assert torch.equal(whole.pattern.offsets, tiled.pattern.offsets)
    assert torch.equal(whole.pattern.columns, tiled.pattern.columns)
    torch.testing.assert_close(whole.values, tiled.values)


def test_bfloat16_takes_the_rounded_scores(generator):
    weights, x = random_weights(generator, 40, 16), torch.randn(57, 16, generator=generator)
    found = Preactivations(weights, x, "bfloat16").above(-1e9)
    rounded = (x.bfloat16().double() @ weights.encoder.bfloat16().double().t()).bfloat16()
    assert found.values.shape == (57 * 40,)
    expected = rounded.double() + weights.encoder_bias.double()
    torch.testing.assert_close(found.values.view(57, 40).double(), expected, rtol=2e-2, atol=2e-2)


def test_rows_are_the_dense_product(generator):
    weights, x = random_weights(generator, 40, 16), torch.randn(57, 16, generator=generator)
    tokens = torch.tensor([5, 0, 5])
    torch.testing.assert_close(Preactivations(weights, x).rows(tokens), exact(weights, x)[tokens].float())
