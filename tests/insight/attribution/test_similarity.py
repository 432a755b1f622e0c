"""The similarity map is the cosine of each patch with each text."""

import numpy as np
import pytest
import torch

from insight.attribution import Scorer, scorer_of
from insight.attribution.similarity import Similarity
from sae.errors import InsightError

from ..tiny_clip import tiny_clip

TEXTS = ["a cat", "a dog", "grass"]


def test_each_patch_is_compared_with_each_text() -> None:
    backbone, photos = tiny_clip(), torch.rand(2, 3, 32, 64)
    maps = Similarity().maps(scorer_of(backbone, TEXTS), photos)
    patches = backbone.encode_image(photos).patches.double().numpy()
    texts = backbone.encode_text(TEXTS).double().numpy()
    assert maps.shape == (2, 3, 2, 4)
    for photo in range(2):
        for text in range(3):
            for row in range(2):
                for column in range(4):
                    patch = patches[photo, 4 * row + column]
                    wanted = patch @ texts[text] / np.linalg.norm(patch) / np.linalg.norm(texts[text])
                    assert float(maps[photo, text, row, column]) == pytest.approx(wanted, abs=1e-5)


def test_a_model_without_vectors_is_refused() -> None:
    scorer = Scorer(tiny_clip(), ("a",), lambda features: features.pooled[:, :1])
    with pytest.raises(InsightError, match="this model has none"):
        Similarity().maps(scorer, torch.rand(1, 3, 64, 64))
