"""What knows nothing: noise of the photo and the text alone, and a bump in the middle."""

import math

import pytest
import torch

from insight.attribution import scorer_of
from insight.attribution.nulls import CentrePoint, RandomMap
from sae.errors import InsightError

from ..random_models import Pixels

TEXTS = ["a cat", "a dog"]


def test_noise_depends_on_seed_photo_and_text_and_on_nothing_else() -> None:
    photos = torch.rand(3, 3, 16, 16)
    maps = RandomMap(5).maps(scorer_of(Pixels(), TEXTS), photos)
    assert maps.shape == (3, 2, 4, 4)
    again = RandomMap(5).maps(scorer_of(Pixels(), [*TEXTS[::-1], "sky"]), photos[[2, 1]])
    assert torch.equal(again[:, :2], maps[[2, 1]][:, [1, 0]])
    different = [*maps.flatten(0, 1), RandomMap(6).maps(scorer_of(Pixels(), TEXTS), photos)[0, 0]]
    assert len({tuple(one.flatten().tolist()) for one in different}) == 7


def test_noise_fills_the_range_from_0_to_1() -> None:
    maps = RandomMap().maps(scorer_of(Pixels(), TEXTS), torch.rand(40, 3, 16, 16))
    assert 0 <= float(maps.min()) < 0.02
    assert 0.98 < float(maps.max()) <= 1
    assert float(maps.mean()) == pytest.approx(0.5, abs=0.05)


def test_the_bump_falls_with_the_distance_from_the_middle() -> None:
    maps = CentrePoint(0.3).maps(scorer_of(Pixels(), TEXTS), torch.rand(2, 3, 16, 32))
    assert maps.shape == (2, 2, 16, 32)
    for row, column in ((0, 0), (7, 15), (12, 3)):
        away = ((row + 0.5) / 16 - 0.5) ** 2 + ((column + 0.5) / 32 - 0.5) ** 2
        for one in maps.flatten(0, 1):
            assert float(one[row, column]) == pytest.approx(math.exp(-away / (2 * 0.09)), rel=1e-5)


def test_a_bump_without_width_is_refused() -> None:
    with pytest.raises(InsightError, match="spread must be above 0"):
        CentrePoint(0.0)
