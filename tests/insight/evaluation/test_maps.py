"""Rescaled maps and orders of places, by loops."""

import numpy as np
import pytest
import torch

from insight.evaluation.maps import min_max, places
from sae import InsightError


def test_each_map_goes_from_0_to_1_and_a_constant_one_is_0() -> None:
    maps = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    maps[1, 1] = 7
    valid = torch.rand(maps.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    valid[0, 1] = False
    whole, part = min_max(maps), min_max(maps, valid)
    for at in np.ndindex(3, 2):
        one, on = maps[at].double().numpy(), valid[at].numpy()
        span = np.ptp(one)
        assert whole[at].numpy() == pytest.approx((one - one.min()) / span if span else 0 * one)
        wanted = np.zeros_like(one)
        if on.any() and np.ptp(one[on]):
            wanted[on] = (one[on] - one[on].min()) / np.ptp(one[on])
        assert part[at].numpy() == pytest.approx(wanted)
    assert not whole[1, 1].any()


@pytest.mark.parametrize("cell", [1, 2, 4])
def test_cells_are_placed_by_their_mean_and_of_equals_the_first_comes_first(cell: int) -> None:
    maps = torch.randint(3, (4, 8, 12), generator=torch.Generator().manual_seed(cell)).double()
    maps[3] = 1
    got, total = places(maps, cell)
    assert total == 96 // cell**2
    for one, place in zip(maps.numpy(), got.numpy()):
        corners = [(y, x) for y in range(0, 8, cell) for x in range(0, 12, cell)]
        order = sorted(corners, key=lambda c: -one[c[0] : c[0] + cell, c[1] : c[1] + cell].mean())  # sorted is stable
        for number, (y, x) in enumerate(order):
            assert (place[y : y + cell, x : x + cell] == number).all()


def test_cells_that_do_not_fit_are_said() -> None:
    with pytest.raises(InsightError, match="a side that divides 8 and 12 pixels, found 5"):
        places(torch.zeros(1, 8, 12), 5)
