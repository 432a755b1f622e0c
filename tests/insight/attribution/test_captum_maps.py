"""captum's methods on pixels equal their definitions, and captum is asked for only when it is needed."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from insight.attribution import Scorer, scorer_of
from insight.attribution.captum_maps import METHODS, Captum
from sae.errors import InsightError

from ..random_models import Pixels
from ..tiny_clip import tiny_clip

TEXTS = ["a cat", "a dog"]


def squared() -> Scorer:
    """Of each patch's vector, so that gradients are known: s_0 = Σ x², s_1 = Σ x³ of the pixels of the photo."""
    backbone = Pixels()
    backbone.set_colours([0.2, 0.4, 0.6], [1, 1, 1])

    def score(features: Tensor) -> Tensor:
        pixels = features.patches.flatten(1)
        return torch.stack([pixels.pow(2).sum(1), pixels.pow(3).sum(1)], dim=1)

    return Scorer(backbone, ("square", "cube"), score)


MEAN = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)


def test_saliency_is_the_gradient_without_sign_over_all_colours() -> None:
    photos = torch.rand(2, 3, 16, 16)
    maps = Captum("saliency").maps(squared(), photos)
    torch.testing.assert_close(maps[:, 0], 2 * photos.sum(1))
    torch.testing.assert_close(maps[:, 1], 3 * photos.pow(2).sum(1))


def test_input_x_gradient_counts_colours_from_the_mean_colour() -> None:
    photos = torch.rand(2, 3, 16, 16)
    maps = Captum("input_x_gradient").maps(squared(), photos)
    torch.testing.assert_close(maps[:, 0], ((photos - MEAN) * 2 * photos).sum(1).abs())
    torch.testing.assert_close(maps[:, 1], ((photos - MEAN) * 3 * photos.pow(2)).sum(1).abs())


def test_integrated_gradients_share_out_the_score_above_that_of_the_mean_colour() -> None:
    photos = torch.rand(2, 3, 16, 16)
    maps = Captum("integrated_gradients", steps=20).maps(squared(), photos)
    torch.testing.assert_close(maps[:, 0], (photos.pow(2) - MEAN.pow(2)).sum(1).abs(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps[:, 1], (photos.pow(3) - MEAN.pow(3)).sum(1).abs(), rtol=1e-4, atol=1e-5)


def test_occlusion_is_the_mean_fall_of_the_score_over_the_squares_that_cover_a_pixel() -> None:
    photo, scorer = torch.rand(1, 3, 16, 16), squared()
    maps = Captum("occlusion").maps(scorer, photo)
    falls, covered = torch.zeros(2, 16, 16), torch.zeros(16, 16)
    for top in (0, 4, 8):
        for left in (0, 4, 8):
            place = (slice(top, top + 8), slice(left, left + 8))
            without = photo.clone()
            without[(0, slice(None), *place)] = MEAN.expand(3, 8, 8)
            falls[(slice(None), *place)] += (scorer(photo) - scorer(without))[0][:, None, None]
            covered[place] += 1
    torch.testing.assert_close(maps[0], falls / covered, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_towers_have_maps_of_every_method(method: str) -> None:
    maps = Captum(method, steps=8).maps(scorer_of(tiny_clip(), TEXTS), torch.rand(2, 3, 64, 64))
    assert maps.shape == (2, 2, 64, 64)
    assert Captum(method).name == f"captum:{method}"
    assert float(maps.std()) > 0


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(InsightError, match=r"did you mean saliency\?"):
        Captum("salency")
    with pytest.raises(InsightError, match="steps must be at least 1"):
        Captum("integrated_gradients", steps=0)


def test_without_captum_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InsightError, match=r"pip install 'insight-concepts\[methods\]'"):
        Captum("saliency").maps(squared(), torch.rand(1, 3, 16, 16))
