"""Pooling: from patches to images, held against dense float64 arrays."""

import numpy as np
import pytest
import torch

from insight.heads.pooling import TOP_SHARE, n_features, pool
from sae import InsightError, SparseCodes

IMAGES, TOKENS, CONCEPTS = 5, 30, 11


@pytest.fixture
def dense() -> torch.Tensor:
    values = torch.rand(IMAGES * TOKENS, CONCEPTS, dtype=torch.float64)
    values[torch.rand_like(values) < 0.7] = 0
    values[:TOKENS] = 0  # an image in which nothing stands
    return values


def by_image(dense: torch.Tensor) -> np.ndarray:
    return dense.reshape(IMAGES, TOKENS, CONCEPTS).numpy()


def test_max_is_the_largest_activation_of_each_concept(dense):
    found = pool(SparseCodes.from_dense(dense), TOKENS, "max").dense()
    np.testing.assert_array_equal(found, by_image(dense).max(1))


def test_mean_is_over_all_patches_silent_ones_too(dense):
    found = pool(SparseCodes.from_dense(dense), TOKENS, "mean").dense()
    np.testing.assert_allclose(found, by_image(dense).mean(1), atol=1e-12)


def test_top_is_the_mean_of_the_strongest_patches(dense):
    count = round(TOP_SHARE * TOKENS)
    found = pool(SparseCodes.from_dense(dense), TOKENS, "top").dense()
    np.testing.assert_allclose(found, np.sort(by_image(dense), axis=1)[:, -count:].mean(1), atol=1e-12)


def test_max_and_mean_stand_side_by_side(dense):
    codes = SparseCodes.from_dense(dense)
    found = pool(codes, TOKENS, "max+mean")
    both = torch.cat([pool(codes, TOKENS, "max").dense(), pool(codes, TOKENS, "mean").dense()], dim=1)
    assert found.n_concepts == n_features(CONCEPTS, "max+mean")
    torch.testing.assert_close(found.dense(), both, rtol=0, atol=0)


@pytest.mark.parametrize("pooling", ["max", "mean", "max+mean", "top"])
def test_images_without_any_concept_have_empty_rows(pooling):
    codes = SparseCodes.from_dense(torch.zeros(2 * TOKENS, CONCEPTS))
    assert pool(codes, TOKENS, pooling).nnz == 0


def test_rows_of_no_whole_image_and_unknown_ways_are_refused(dense):
    codes = SparseCodes.from_dense(dense)
    with pytest.raises(InsightError, match="whole images of 7 patches, found 150 rows"):
        pool(codes, 7, "max")
    with pytest.raises(InsightError, match="expected one of max, mean, max\\+mean, top, found 'median'"):
        pool(codes, TOKENS, "median")
