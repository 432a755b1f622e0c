"""FeatureMeans against float64 sums over tokens, by fold of images."""

import warnings

import numpy as np
import pytest
import torch

from naming import FOLDS, FeatureMeans
from sae import InsightError, SparseCodes

from ..stand_in import random_dense

M, DIM = 9, 5


def data(generator: torch.Generator, tokens: int = 120) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, features and the image of each token."""
    features = torch.randn(tokens, DIM, generator=generator)
    return random_dense(generator, tokens, M), features, torch.arange(tokens) // 4


def gathered(dense: torch.Tensor, features: torch.Tensor, images: torch.Tensor, pieces: int = 1) -> FeatureMeans:
    means = FeatureMeans(M, DIM)
    for part in torch.arange(len(dense)).tensor_split(pieces):
        means.update(SparseCodes.from_dense(dense[part]), features[part], images[part])
    return means


def assert_same(found: FeatureMeans, dense: torch.Tensor, features: torch.Tensor, images: torch.Tensor) -> None:
    a, x = dense.double().numpy(), features.double().numpy()
    for fold in range(FOLDS):
        part = (images % FOLDS == fold).numpy()
        np.testing.assert_allclose(found.weight[fold], a[part].sum(0), rtol=1e-5)
        expected = a[part].T @ x[part] / np.maximum(a[part].sum(0), 1e-30)[:, None]
        np.testing.assert_allclose(found.means()[fold], expected, rtol=1e-4, atol=1e-5)
    expected = a.T @ x / np.maximum(a.sum(0), 1e-30)[:, None]
    np.testing.assert_allclose(found.mean(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.centre, x.mean(0), rtol=1e-4, atol=1e-5)
    assert found.tokens == len(a)


@pytest.mark.parametrize("pieces", [1, 3, 50])
def test_means_are_weighted_sums_over_the_tokens_of_each_fold(generator, pieces):
    whole = data(generator)
    assert_same(gathered(*whole, pieces), *whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_half_precision_are_summed_in_more(generator, dtype):
    dense, features, images = data(generator, 2000)
    features = features.to(dtype)
    assert_same(gathered(dense, features, images), dense, features.float(), images)


def test_merged_and_saved_passes_are_one_pass(generator, tmp_path):
    dense, features, images = data(generator)
    first, second = (gathered(dense[part], features[part], images[part]) for part in (slice(0, 50), slice(50, 120)))
    second.save(tmp_path / "features.npz")
    first.merge(FeatureMeans.load(tmp_path / "features.npz"))
    assert_same(first, dense, features, images)
    assert_same(second, dense[50:], features[50:], images[50:])


def test_dead_concepts_and_folds_without_images_are_zero(generator):
    dense, features, _ = data(generator, 8)
    dense[:] = 1
    dense[:, -1] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gathered(dense, features, torch.full((8,), 2))
        empty = FeatureMeans(M, DIM)
        assert not empty.mean().any()
        assert not empty.centre.any()
        assert not found.mean()[-1].any()
        assert not np.delete(found.means(), 2, axis=0).any()
        assert found.means()[2, :-1].any(axis=1).all()


def test_what_does_not_fit_is_refused(generator, tmp_path):
    dense, features, images = data(generator)
    codes = SparseCodes.from_dense(dense)
    with pytest.raises(InsightError, match="9 concepts, 120 rows and features \\[119, 5\\]"):
        FeatureMeans(M, DIM).update(codes, features[1:], images)
    with pytest.raises(InsightError, match="rows of 6 features"):
        FeatureMeans(M, 6).update(codes, features, images)
    with pytest.raises(InsightError, match="expected sums of 9 x 5, found 9 x 6"):
        FeatureMeans(M, DIM).merge(FeatureMeans(M, 6))
    path = tmp_path / "features.npz"
    gathered(dense, features, images).save(path)
    whole = dict(np.load(path))
    for name in ("weight", "total", "means"):
        np.savez(path, **{**whole, name: whole[name][1:]})
        with pytest.raises(InsightError, match=r"features\.npz"):
            FeatureMeans.load(path)
