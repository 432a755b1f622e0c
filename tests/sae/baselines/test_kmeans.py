"""k-means as a dictionary: the nearest centre, or a share of each of the nearest."""

import pytest
import torch

from sae import InsightError, TensorSource
from sae.baselines import Centroids, fit_kmeans


@pytest.fixture
def centroids(generator):
    return Centroids(torch.randn(30, 5, generator=generator), torch.randn(5, generator=generator), k=1)


def squared_distances(centroids, x):
    centres = (centroids.directions + centroids.mean).double()
    return (x.double()[:, None] - centres).square().sum(2)


def test_with_one_the_code_is_the_nearest_centre(generator, centroids):
    x = 2 * torch.randn(300, 5, generator=generator)
    codes = centroids.encode(x)
    assert codes.counts().tolist() == [1] * 300
    torch.testing.assert_close(codes.activations, torch.ones(300))
    distances = squared_distances(centroids, x)
    own = distances.gather(1, codes.concepts.long()[:, None])[:, 0]
    torch.testing.assert_close(own, distances.amin(1), rtol=0, atol=1e-4)
    centres = centroids.directions + centroids.mean
    torch.testing.assert_close(centroids.decode(codes), centres[codes.concepts.long()], rtol=0, atol=1e-5)


def test_more_share_by_how_much_nearer_they_are_than_the_next(generator, centroids):
    several = Centroids(centroids.directions, centroids.mean, k=4)
    x = 2 * torch.randn(300, 5, generator=generator)
    distances = squared_distances(several, x)
    next_one = distances.sort(dim=1).values[:, 4:5]
    expected = (next_one - distances).clamp(min=0)
    expected /= expected.sum(1, keepdim=True)
    clear = next_one[:, 0] - distances.amin(1) > 0.1  # rounding is small beside what is divided by
    assert int(clear.sum()) > 100
    torch.testing.assert_close(several.encode(x).dense().double()[clear], expected[clear], rtol=0, atol=1e-3)


def test_shares_sum_to_one_even_where_all_centres_are_as_far():
    corners = Centroids(torch.eye(6), torch.zeros(6), k=3)
    codes = corners.encode(torch.zeros(2, 6))
    assert codes.counts().tolist() == [3, 3]
    torch.testing.assert_close(codes.dense().sum(1), torch.ones(2))


def test_fitted_centres_are_the_means_of_what_is_next_to_them(generator):
    middles = 20 * torch.eye(4)
    x = middles.repeat_interleave(50, dim=0) + torch.randn(200, 4, generator=generator)
    fitted = fit_kmeans(TensorSource(x), 4, iterations=100)
    groups = fitted.encode(x).concepts.long()
    # Lloyd's algorithm may settle, slowly, with two centres in one group; each is the mean of its own even so.
    for group in groups.unique():
        centre = fitted.directions[group] + fitted.mean
        torch.testing.assert_close(centre, x[groups == group].mean(0), rtol=0, atol=1e-3)


def test_fits_are_the_same_for_the_same_seed(generator):
    source = TensorSource(torch.randn(400, 6, generator=generator))
    one, same, other = (fit_kmeans(source, 10, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(one.directions, same.directions)
    assert not torch.equal(one.directions, other.directions)


def test_fewer_different_tokens_than_concepts_are_refused(generator):
    x = torch.randn(7, 5, generator=generator).repeat(100, 1)
    with pytest.raises(InsightError, match="expected at least 8 different tokens for as many concepts, found 7"):
        fit_kmeans(TensorSource(x), 8)


@pytest.mark.parametrize("k", [0, 30])
def test_one_centre_must_be_left_to_compare_with(centroids, k):
    with pytest.raises(InsightError, match=f"k: expected 1 to n_concepts - 1 = 29, found {k}"):
        Centroids(centroids.directions, centroids.mean, k)
