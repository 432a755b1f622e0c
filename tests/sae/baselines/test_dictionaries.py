"""What all dictionaries have in common, as a head or a metric relies on it."""

import pytest
import torch

from sae import InsightError, TensorSource
from sae.baselines import fit_kmeans, fit_nmf, fit_pca, fit_sparse_coding, random_dictionary


def splice(source, k):
    return fit_sparse_coding(source, torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), k=k)


FITS = {
    "pca": lambda source: fit_pca(source, k=3),
    "random": lambda source: random_dictionary(source, 40, k=3),
    "kmeans": lambda source: fit_kmeans(source, 40, k=3),
    "nmf": lambda source: fit_nmf(source, 40, k=3, n_tokens=4000),
    "sparse_coding": lambda source: splice(source, 3),
}


@pytest.fixture(params=FITS)
def fit(request):
    return FITS[request.param]


@pytest.fixture
def features(generator):
    return torch.randn(400, 8, generator=generator) + 1


def test_a_reconstruction_is_a_bias_and_the_activations_times_the_directions(features, fit):
    dictionary = fit(TensorSource(features))
    codes = dictionary.encode(features)
    assert codes.n_concepts == dictionary.n_concepts == len(dictionary.directions)
    assert dictionary.decode(codes[:0]).shape == (0, 8)
    found = dictionary.decode(codes).double()
    sums = codes.dense().double() @ dictionary.directions.double()
    torch.testing.assert_close(found - sums, (found - sums)[:1].expand(400, 8), rtol=0, atol=1e-4)


def test_as_many_concepts_are_active_as_were_asked_for(features, fit):
    codes = fit(TensorSource(features)).encode(features)
    assert abs(codes.nnz / 400 - 3) <= 0.1


def test_features_of_any_shape_are_rows_of_tokens(features, fit):
    dictionary = fit(TensorSource(features))
    flat, grid = dictionary.encode(features[:60]), dictionary.encode(features[:60].view(3, 4, 5, 8))
    torch.testing.assert_close(grid.dense(), flat.dense())
    assert dictionary.encode(features[:0]).n == 0


def test_other_features_than_fitted_are_refused(features, fit):
    dictionary = fit(TensorSource(features))
    with pytest.raises(InsightError, match=r"encode: expected features \[..., 8\], found \[400, 7\]"):
        dictionary.encode(features[:, :7])
    features[5, 2] = torch.nan
    with pytest.raises(InsightError, match="NaN or infinity in 1 of 400 tokens"):
        dictionary.encode(features)


def test_nothing_is_fitted_to_nan(features, fit):
    features[7, 0] = torch.inf
    with pytest.raises(InsightError, match="fit: expected finite features, found NaN or infinity in 1 of 400"):
        fit(TensorSource(features))


@pytest.mark.parametrize("name", ["pca", "kmeans", "nmf", "sparse_coding"])
def test_nothing_is_fitted_to_tokens_that_are_all_the_same(name):
    with pytest.raises(InsightError, match=r"all the same|in which the features vary"):
        FITS[name](TensorSource(torch.full((100, 8), 0.7)))
