"""RegionPairs against loops over patches, on grids of any shape, however the images are cut into chunks."""

import numpy as np
import pytest
import torch

from naming import RegionPairs
from naming.evidence import regions as module
from sae import InsightError, SparseCodes

from .reference import COUNTS, MATRICES, region_pairs


def random_images(generator: torch.Generator, images: int, grid: tuple[int, int], m: int) -> torch.Tensor:
    """Dense codes of blobs: some concepts fire on most patches, some on few, the last one nowhere."""
    share = torch.rand(images, 1, m, generator=generator) ** 2
    share[..., -1] = 0
    dense = torch.rand(images, grid[0] * grid[1], m, generator=generator)
    return torch.where(dense < share, dense + 0.01, torch.zeros(())).flatten(0, 1)


def gathered(dense: torch.Tensor, grid: tuple[int, int], cuts: list[int] = (), **options) -> RegionPairs:
    """`cuts`: numbers of images after which a new chunk begins."""
    pairs = RegionPairs(dense.shape[1], grid, **options)
    per_image = grid[0] * grid[1]
    for part in torch.tensor_split(dense, [cut * per_image for cut in cuts]):
        pairs.update(SparseCodes.from_dense(part))
    return pairs


def assert_same(pairs: RegionPairs, expected: dict[str, torch.Tensor]) -> None:
    for name in COUNTS:
        assert np.array_equal(getattr(pairs, name), expected[name].numpy()), name
    for name in MATRICES:
        found = getattr(pairs, name)
        np.testing.assert_allclose(found.toarray(), expected[name].numpy(), rtol=1e-5, err_msg=name)
        assert found.nnz == int((expected[name] != 0).sum()), f"{name} holds zeros"


GRIDS = [(4, 4), (1, 9), (9, 1), (3, 5), (1, 1), (2, 7)]


@pytest.mark.parametrize("grid", GRIDS)
def test_all_sums_are_those_of_loops_over_patches(generator, grid):
    dense = random_images(generator, 7, grid, 9)
    assert_same(gathered(dense, grid, [3, 4]), region_pairs(dense, grid))
