"""Of each image and concept the one strongest patch, against numpy's argmax."""

import numpy as np
import pytest
import torch

from naming import strongest_of_image
from sae import SparseCodes


@pytest.mark.parametrize("round_number", range(5))
def test_of_each_image_the_strongest_patch_is_kept(round_number: int) -> None:
    rng = np.random.default_rng()
    images, patches, concepts = rng.integers(1, 6), rng.integers(1, 9), rng.integers(1, 7)
    dense = rng.integers(0, 4, (images, patches, concepts)).astype(np.float64)  # small numbers: many ties
    codes = SparseCodes.from_dense(torch.from_numpy(dense.reshape(-1, concepts)))
    expected = np.zeros_like(dense)
    for image in range(images):
        for concept in range(concepts):
            best = int(dense[image, :, concept].argmax())
            expected[image, best, concept] = dense[image, best, concept]
    kept = strongest_of_image(codes, int(patches))
    np.testing.assert_array_equal(kept.dense().numpy(), expected.reshape(-1, concepts))
