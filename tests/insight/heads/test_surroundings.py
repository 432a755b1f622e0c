"""The mean around a patch, its adjoint, and the same of codes, against loops."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from insight.heads.surroundings import codes_around, mean_around, mean_around_adjoint


def by_loops(maps: np.ndarray) -> np.ndarray:
    _, h, w = maps.shape
    found = np.empty_like(maps)
    for row in range(h):
        for column in range(w):
            near = maps[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            found[:, row, column] = near.reshape(len(maps), -1).mean(1)
    return found


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 3), (2, 2), (7, 6)])
def test_means_are_those_of_loops_and_the_adjoint_is_one(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    maps, weights = rng.standard_normal((2, 3, *shape))
    np.testing.assert_allclose(mean_around(maps), by_loops(maps), rtol=0, atol=1e-12)
    left, right = (weights * mean_around(maps)).sum(), (mean_around_adjoint(weights) * maps).sum()
    assert left == pytest.approx(right, abs=1e-10)


def test_codes_are_averaged_image_by_image() -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((2 * 4 * 3, 5)) * (rng.random((2 * 4 * 3, 5)) < 0.4)
    found = codes_around(csr_array(dense), (4, 3)).toarray()
    expected = [by_loops(image.T.reshape(5, 4, 3)).reshape(5, -1).T for image in dense.reshape(2, 12, 5)]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-12)
