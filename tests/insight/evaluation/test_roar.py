"""Removal without training anew: against a loop, and of maps that are right and wrong."""

import numpy as np
import pytest
import torch

from insight.attribution import Scorer
from insight.evaluation import interval
from insight.evaluation.roar import removal
from sae import InsightError

from .toy import MEAN, ColourFinder, Colours, random_photos, random_scorer


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_removal_equals_a_loop(batch: int) -> None:
    scorer, images = random_scorer(0, 3, 6), random_photos(1, 20)
    random = torch.Generator().manual_seed(2)
    maps, truth = torch.randint(5, (20, 8, 12), generator=random).float(), torch.randint(3, (20,), generator=random)
    got = removal(scorer, images, maps, truth, shares=(0.25, 1), batch=batch)
    for i in range(20):
        order = sorted(np.ndindex(8, 12), key=lambda at: -float(maps[i][at]))
        for k, count in enumerate((24, 96)):
            photo = images[i].clone()
            for y, x in order[:count]:
                photo[:, y, x] = torch.tensor(MEAN)
            assert got.after[i, k] == (int(scorer(photo[None]).argmax()) == truth[i])
        assert got.before[i] == (int(scorer(images[i][None]).argmax()) == truth[i])
    assert (got.random[:, 1] == got.after[:, 1]).all()  # nothing is left by either
    accuracy = got.before.mean()
    assert got.fall()[0] == pytest.approx((accuracy - got.after.mean(0)) / accuracy)
    assert got.random_fall()[0] == pytest.approx((accuracy - got.random.mean(0)) / accuracy)


def coloured(n: int) -> tuple[Scorer, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Grey photos with a patch of the class's colour somewhere, and where it is."""
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (n,), generator=random)
    images, where = torch.full((n, 3, 16, 16), 0.4), torch.zeros(n, 16, 16)
    images += 0.05 * torch.rand(n, 3, 16, 16, generator=random)
    for i, (y, x) in enumerate((4 * torch.randint(4, (n, 2), generator=random)).tolist()):
        images[i, :, y : y + 4, x : x + 4] = 0.8 * torch.eye(3)[truth[i], :, None, None]
        where[i, y : y + 4, x : x + 4] = 1
    scorer = ColourFinder(Colours()).scorer(("red", "green", "blue"))
    return scorer, images, where, truth


def test_the_right_map_costs_more_than_chance_and_the_contrary_less() -> None:
    scorer, images, where, truth = coloured(60)
    right, wrong = (removal(scorer, images, maps, truth, shares=(1 / 16, 0.3)) for maps in (where, -where))
    assert right.before.all()
    assert (right.fall() > right.random_fall() + 0.3).all()
    assert (wrong.fall() < wrong.random_fall() + 0.01).all()
    low, high = interval(lambda w: right.fall(w)[:, 0] - right.random_fall(w)[:, 0], 60)
    assert 0 < low < high
    again = removal(scorer, images[7:9], where[7:9], truth[7:9], shares=(1 / 16, 0.3))
    assert (again.random == right.random[7:9]).all()  # random removal is of the photo, not of those beside it


def test_where_nothing_was_right_there_is_no_fall() -> None:
    scorer, images, where, truth = coloured(4)
    assert np.isnan(removal(scorer, images, where, (truth + 1) % 3).fall()).all()


@pytest.mark.parametrize("shares", [(), (0.0,), (1.1,)], ids=["none", "nothing", "too-much"])
def test_shares_that_do_not_fit_are_said(shares: tuple[float, ...]) -> None:
    scorer, images, where, truth = coloured(1)
    with pytest.raises(InsightError, match="above 0, up to 1"):
        removal(scorer, images, where, truth, shares=shares)
