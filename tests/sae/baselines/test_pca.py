"""PCA as a dictionary is PCA: the components of the covariance, each side a concept."""

import numpy as np
import pytest
import torch

from sae import InsightError, TensorSource
from sae.baselines import fit_pca


@pytest.fixture
def features(generator):
    """600 tokens whose variances, 100, 49, ..., are far apart."""
    spread = torch.tensor([10.0, 7.0, 5.0, 3.0, 2.0, 1.0])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    return torch.randn(600, 6, generator=generator) * spread @ turn + 20


def components(x):
    """Unit components [d, d] of tokens, from the largest variance on, in float64."""
    return np.linalg.svd(x.double().numpy() - x.double().numpy().mean(0), full_matrices=False)[2]


def test_every_component_is_two_concepts_of_opposite_sides(features):
    dictionary = fit_pca(TensorSource(features))
    assert dictionary.n_concepts == 12
    directions = dictionary.directions.double()
    torch.testing.assert_close(directions[1::2], -directions[::2])
    cosines = np.abs((directions[::2].numpy() * components(features)).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)


def test_activations_are_the_coordinates(features):
    codes = fit_pca(TensorSource(features)).encode(features).dense().double()
    coordinates = (features.double() - features.double().mean(0)).numpy() @ components(features).T
    np.testing.assert_allclose((codes[:, ::2] + codes[:, 1::2]).numpy(), np.abs(coordinates), atol=1e-3)
    assert not bool(((codes[:, ::2] > 0) & (codes[:, 1::2] > 0)).any())


def test_all_components_leave_nothing_out(features):
    dictionary = fit_pca(TensorSource(features))
    torch.testing.assert_close(dictionary.decode(dictionary.encode(features)), features, rtol=0, atol=1e-3)


def test_leading_components_are_the_best_subspace(features):
    dictionary = fit_pca(TensorSource(features), 4)
    found = dictionary.decode(dictionary.encode(features)).double()
    mean, leading = features.double().mean(0), torch.from_numpy(components(features)[:2])
    torch.testing.assert_close(found, (features - mean) @ leading.T @ leading + mean, rtol=0, atol=1e-3)


def test_k_keeps_the_largest_coordinates_of_each_token(features):
    codes = fit_pca(TensorSource(features), k=2).encode(features)
    coordinates = np.abs((features.double() - features.double().mean(0)).numpy() @ components(features).T)
    assert codes.counts().tolist() == [2] * 600
    kept = np.sort(codes.activations.view(600, 2).numpy(), axis=1)
    np.testing.assert_allclose(kept, np.sort(coordinates, axis=1)[:, -2:], atol=1e-3)


def test_a_mean_far_from_zero_costs_no_digits(features):
    near, far = fit_pca(TensorSource(features - 20)), fit_pca(TensorSource(features + 2000))
    cosines = (near.directions * far.directions).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(12), rtol=0, atol=1e-4)


def test_a_sample_is_of_the_sources_order(features):
    sample = next(TensorSource(features).batches(100, seed=5))
    ours = fit_pca(TensorSource(features), n_tokens=100, seed=5)
    torch.testing.assert_close(ours.decoder_bias.detach(), sample.mean(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("wanted", "seen"), [(3, 600), (14, 600), (0, 600), (8, 4)])
def test_no_more_concepts_than_the_features_have_sides(features, wanted, seen):
    with pytest.raises(InsightError, match=r"PCA: n_concepts: expected an even number of 2 to \d+"):
        fit_pca(TensorSource(features), wanted, n_tokens=seen)


def test_directions_without_variance_are_not_counted(features):
    flat = torch.cat([features, features[:, :2] @ torch.tensor([[1.0, 2.0], [0.5, 1.0]]), torch.ones(600, 1)], dim=1)
    assert fit_pca(TensorSource(flat)).n_concepts == 12


def test_constant_features_have_no_components():
    with pytest.raises(InsightError, match="in which the features vary"):
        fit_pca(TensorSource(torch.full((50, 4), 0.3)))
