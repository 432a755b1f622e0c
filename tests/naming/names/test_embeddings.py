"""Where concepts stand by the patches they fire on, against sums by hand."""

import numpy as np
import pytest
import torch

from naming import FeatureMeans, region_embeddings, resampled_embeddings
from sae import SparseCodes

CONCEPTS, DIM, IMAGES, TOKENS = 7, 5, 9, 6


@pytest.fixture
def world(seed: int) -> tuple[FeatureMeans, np.ndarray, np.ndarray]:
    """Features and dense codes [images · tokens, ...]; concept 6 never fires, concept 5 in one image alone."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(IMAGES * TOKENS, DIM, generator=generator)
    dense = torch.rand(IMAGES * TOKENS, CONCEPTS, generator=generator) + 0.1
    dense = dense * (torch.rand(dense.shape, generator=generator) < 0.6)
    dense[:, 5:] = 0
    dense[2 * TOKENS, 5] = 1.0
    means = FeatureMeans(CONCEPTS, DIM)
    means.update(SparseCodes.from_dense(dense), features, torch.arange(len(dense)) // TOKENS)
    return means, features.double().numpy(), dense.double().numpy()


def by_hand(features: np.ndarray, dense: np.ndarray, centre: np.ndarray) -> np.ndarray:
    vectors = np.zeros((CONCEPTS, DIM))
    for concept in range(CONCEPTS):
        weight = dense[:, concept].sum()
        if weight > 0:
            mean = sum(a * x for a, x in zip(dense[:, concept], features)) / weight - centre
            vectors[concept] = mean / np.linalg.norm(mean)
    return vectors


def test_a_concept_stands_at_the_weighted_mean_of_its_patches_less_the_mean_of_all(world):
    means, features, dense = world
    expected = by_hand(features, dense, features.mean(0))
    assert np.allclose(region_embeddings(means).numpy(), expected, atol=1e-4)


def test_each_resample_sees_the_images_of_its_fold_alone(world):
    means, features, dense = world
    resamples = resampled_embeddings(means)
    image = np.arange(len(dense)) // TOKENS
    for fold in range(len(resamples)):
        mine = image % len(resamples) == fold
        assert np.allclose(resamples[fold].numpy(), by_hand(features[mine], dense[mine], features.mean(0)), atol=1e-4)


def test_what_never_fires_has_a_zero_row(world):
    means, _, _ = world
    assert not region_embeddings(means)[6].any()
    assert [bool(fold[5].any()) for fold in resampled_embeddings(means)] == [False, False, True, False]
