"""RISE equals its definition, mask by mask; its map is that of the photo and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from insight.attribution import Scorer, scorer_of
from insight.attribution.rise import RISE
from sae.errors import InsightError

from ..backbones.openclip.forms import MEAN
from ..heads.segmenting import bilinear
from ..random_models import Pixels
from ..tiny_clip import tiny_clip

TEXTS = ["a cat", "a dog"]


def masks_by_hand(masks: int, cells: int, keep: float, seed: int, height: int, width: int) -> np.ndarray:
    """[masks, H, W] float64, with a cell of margin that the shift may use."""
    random = torch.Generator().manual_seed(seed)
    tall, wide = int(np.ceil(height / cells)), int(np.ceil(width / cells))
    found = []
    for _ in range(masks):
        on = (torch.rand(1, 1, cells + 1, cells + 1, generator=random) < keep)[0, 0].numpy().astype(np.float64)
        top = int(torch.randint(tall, (), generator=random))
        left = int(torch.randint(wide, (), generator=random))
        drawn = bilinear((cells + 1) * tall, cells + 1) @ on @ bilinear((cells + 1) * wide, cells + 1).T
        found.append(drawn[top : top + height, left : left + width])
    return np.stack(found)


def test_a_map_is_the_mean_score_where_a_pixel_is_shown() -> None:
    backbone, photo = tiny_clip(), torch.rand(1, 3, 48, 64)
    scorer = scorer_of(backbone, TEXTS)
    sums, shown = np.zeros((2, 48, 64)), np.zeros((48, 64))
    for mask in masks_by_hand(30, 5, 0.4, 9, 48, 64):
        covered = MEAN.numpy() * (1 - mask) + photo[0].double().numpy() * mask
        scores = scorer(torch.from_numpy(covered)[None].float())[0].double().numpy()
        sums += scores[:, None, None] * mask
        shown += mask
    maps = RISE(masks=30, cells=5, keep=0.4, seed=9).maps(scorer, photo)
    np.testing.assert_allclose(maps[0].numpy(), sums / shown, rtol=1e-4, atol=1e-5)


def test_the_batch_and_the_companions_change_nothing() -> None:
    photos, scorer = torch.rand(3, 3, 64, 64), scorer_of(tiny_clip(), TEXTS)
    settings = RISE(masks=20, batch=20)
    maps = settings.maps(scorer, photos)
    torch.testing.assert_close(replace(settings, batch=7).maps(scorer, photos), maps, rtol=1e-5, atol=1e-6)
    assert torch.equal(settings.maps(scorer, photos[1:2]), maps[1:2])
    one = settings.maps(scorer_of(scorer.backbone, TEXTS[1:]), photos)
    torch.testing.assert_close(one, maps[:, 1:], rtol=1e-5, atol=1e-6)
    assert not torch.equal(replace(settings, seed=1).maps(scorer, photos), maps)


def toy() -> Pixels:
    backbone = Pixels()
    backbone.set_colours([0.5, 0.5, 0.5], [1, 1, 1])
    return backbone


def test_a_score_of_one_patch_peaks_at_that_patch() -> None:
    def brightness(features: Tensor) -> Tensor:
        return features.patches[:, [6, 13]].mean(2)

    photo = torch.ones(1, 3, 16, 16)
    maps = RISE(masks=400, cells=4).maps(Scorer(toy(), ("sixth", "thirteenth"), brightness), photo)
    of_patches = torch.nn.functional.avg_pool2d(maps, 4).flatten(2)
    assert of_patches.argmax(2).tolist() == [[6, 13]]


def test_a_constant_score_has_a_constant_map() -> None:
    scorer = Scorer(toy(), ("it",), lambda features: torch.full((len(features.pooled), 1), 0.7))
    maps = RISE(masks=10).maps(scorer, torch.rand(1, 3, 16, 16))
    torch.testing.assert_close(maps, torch.full((1, 1, 16, 16), 0.7))


@pytest.mark.parametrize("wrong", [{"masks": 0}, {"cells": 0}, {"batch": 0}, {"keep": 0.0}, {"keep": 1.1}], ids=str)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InsightError, match=f"rise: {next(iter(wrong))} must be"):
        RISE(**wrong)
