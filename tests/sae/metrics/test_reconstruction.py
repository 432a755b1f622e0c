"""Streamed measures against the definitions on the whole data, dense and in float64."""

import math

import pytest
import torch

from sae import InsightError, SaeConfig, SparseAutoencoder, SparseCodes, evaluate
from sae.metrics import DENSITY_EDGES


@pytest.fixture
def sae(generator) -> SparseAutoencoder:
    sae = SparseAutoencoder(SaeConfig(dim=5, n_concepts=30, k=3, fractions=(0.2, 0.3, 0.5)))
    for weight in sae.weights:
        weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    sae.weights.encoder_bias[3:6] = -1e4
    sae.threshold.fill_(0.8)
    return sae


def defined(sae, x, a):
    x, a, decoder, bias = x.double(), a.double(), sae.weights.decoder.double(), sae.weights.decoder_bias.double()
    reconstructions = [bias + a[:, :size] @ decoder[:size] for size in sae.config.levels]
    cosine = torch.cosine_similarity(x, reconstructions[-1]).mean()
    frequency = (a > 0).double().mean(0)
    return {
        "fvu": [float((x - reconstruction).var(0).sum() / x.var(0).sum()) for reconstruction in reconstructions],
        "cosine": float(cosine),
        "l0": float((a > 0).sum(1).double().mean()),
        "dead": float((frequency == 0).double().mean()),
        "dense": float((frequency > 0.1).double().mean()),
        "density": [
            int(((low <= frequency) & (frequency < high)).sum())
            for low, high in zip(DENSITY_EDGES, [*DENSITY_EDGES[1:-1], 1.1])
        ],
    }


@pytest.mark.parametrize("sizes", [[100], [1] * 100, [64, 0, 36], [7, 93]])
def test_streamed_measures_are_those_of_the_whole_data(sae, generator, sizes):
    x = torch.randn(100, 5, generator=generator)
    expected = defined(sae, x, sae.encode(x).dense())
    measured = evaluate(sae, x.split(sizes))
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert measured["dead"] >= 0.1


def test_a_mean_far_from_zero_does_not_drown_the_variance(sae, generator):
    x = 1e4 + torch.randn(1000, 5, generator=generator)
    measured = evaluate(sae, x.split(90))
    assert measured["fvu"] == pytest.approx(defined(sae, x, sae.encode(x).dense())["fvu"], rel=1e-4)


def test_the_codes_may_be_chosen_otherwise(sae, generator):
    x = torch.randn(60, 5, generator=generator)

    def largest_of_each(batch):
        u = ((batch - sae.decoder_bias) @ sae.encoder.T + sae.encoder_bias).detach().relu()
        return SparseCodes.from_dense(torch.where(u >= u.topk(3).values[:, -1:], u, 0.0))

    measured = evaluate(sae, [x], encode=largest_of_each)
    assert measured["l0"] == pytest.approx(3)
    assert measured["fvu"] == pytest.approx(defined(sae, x, largest_of_each(x).dense())["fvu"], rel=1e-5)


def test_constant_features_have_no_fvu(sae, generator):
    x = torch.randn(5, generator=generator).expand(40, 5)
    measured = evaluate(sae, x.split(7))
    assert all(math.isnan(share) for share in measured["fvu"])
    assert not math.isnan(measured["cosine"])


def test_no_tokens_and_bad_tokens_are_refused(sae):
    with pytest.raises(InsightError, match="at least one token"):
        evaluate(sae, [])
    with pytest.raises(InsightError, match="NaN or infinity in 1 of 2"):
        evaluate(sae, [torch.tensor([[1.0, 2, 3, 4, 5], [1, 2, 3, 4, float("nan")]])])
