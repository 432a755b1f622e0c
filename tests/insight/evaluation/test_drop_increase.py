"""Drop and Increase against their definition, pixel by pixel."""

import numpy as np
import pytest
import torch

from insight.attribution import Scorer
from insight.evaluation.drop_increase import DropIncrease, drop_increase
from sae import InsightError

from .toy import MEAN, random_photos, random_scorer


def by_hand(scorer: Scorer, image: np.ndarray, one: np.ndarray, text: int) -> tuple[float, float]:
    soft = np.zeros_like(one) if one.max() == one.min() else (one - one.min()) / (one.max() - one.min())
    dim = np.empty_like(image)
    for channel in range(3):
        for y, x in np.ndindex(one.shape):
            dim[channel, y, x] = soft[y, x] * image[channel, y, x] + (1 - soft[y, x]) * MEAN[channel]
    scores = [float(scorer(torch.from_numpy(photo)[None])[0, text]) for photo in (image, dim)]
    return scores[0], scores[1]


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_every_pair_equals_the_definition(batch: int) -> None:
    scorer, images = random_scorer(0, 3, 6), random_photos(1, 4)
    maps = torch.randn(4, 3, 8, 12, generator=torch.Generator().manual_seed(2))
    maps[2, 1] = -3  # constant: nothing is kept
    got = drop_increase(scorer, images, maps, batch=batch)
    assert max(scorer.backbone.calls) <= batch
    assert got.before.shape == got.after.shape == (4, 3)
    for b, t in np.ndindex(4, 3):
        o, s = by_hand(scorer, images[b].numpy(), maps[b, t].double().numpy(), t)
        assert (got.before[b, t], got.after[b, t]) == pytest.approx((o, s))
        assert got.drop[b, t] == pytest.approx(100 * max(0, o - s))
        assert got.increase[b, t] == (100 if s > o else 0)
        assert got.relative_drop[b, t] == pytest.approx(100 * max(0, o - s) / o if o > 0 else np.nan, nan_ok=True)
    assert (got.before < 0).any()
    assert (got.before > 0).any()


def test_a_photo_can_be_asked_about_one_text() -> None:
    scorer, images = random_scorer(3, 5, 6), random_photos(4, 6)
    maps = torch.rand(6, 5, 8, 12, generator=torch.Generator().manual_seed(5))
    asked = torch.tensor([4, 0, 2, 2, 1, 3])
    every = drop_increase(scorer, images, maps)
    one = drop_increase(scorer, images, maps[torch.arange(6), asked], asked)
    assert one.before == pytest.approx(every.before[np.arange(6), asked])
    assert one.after == pytest.approx(every.after[np.arange(6), asked])


def test_drop_is_absolute_and_relative_drop_is_of_the_score() -> None:
    got = DropIncrease(np.array([0.2, 0.5, 0.0, -0.1]), np.array([0.1, 0.6, -1.0, -0.2]))
    assert got.drop == pytest.approx([10, 0, 100, 10])
    assert got.increase.tolist() == [0, 100, 0, 0]
    assert got.relative_drop == pytest.approx([50, 0, np.nan, np.nan], nan_ok=True)


def test_what_does_not_fit_is_said() -> None:
    scorer, images = random_scorer(0, 3, 6), random_photos(0, 2)
    with pytest.raises(InsightError, match=r"of 3 texts; found \[2, 3, 8, 12\] and \[2, 2, 8, 12\]"):
        drop_increase(scorer, images, torch.zeros(2, 2, 8, 12))
    with pytest.raises(InsightError, match="a text 0 to 2, found none"):
        drop_increase(scorer, images, torch.zeros(2, 8, 12))
    with pytest.raises(InsightError, match=r"a text 0 to 2, found \[2\]: \[0, 3\]"):
        drop_increase(scorer, images, torch.zeros(2, 8, 12), torch.tensor([0, 3]))
    with pytest.raises(InsightError, match="leave it out"):
        drop_increase(scorer, images, torch.zeros(2, 3, 8, 12), torch.tensor([0, 1]))
    with pytest.raises(InsightError, match="maps: expected finite"):
        drop_increase(scorer, images, torch.full((2, 3, 8, 12), torch.nan))
    with pytest.raises(InsightError, match="scores of photos: expected finite"):
        drop_increase(scorer, images * torch.nan, torch.zeros(2, 3, 8, 12))
