"""One-to-one matchings against the best of all permutations."""

from itertools import permutations

import pytest
import torch

from sae import InsightError
from sae.metrics import match, match_above

from .arrays import LargestArray


def cosines(left, right):
    unit = [side.double() / side.double().norm(dim=1, keepdim=True) for side in (left, right)]
    return unit[0] @ unit[1].T


@pytest.mark.parametrize("m", [1, 3, 6])
def test_no_permutation_has_a_larger_sum_of_cosines(generator, m):
    left, right = torch.randn(2, m, 4, generator=generator)
    table = cosines(left, right)
    found = match(left, right)
    torch.testing.assert_close(found.cosine, table[torch.arange(m), found.partner])
    best = max(float(table[torch.arange(m), torch.tensor(order)].sum()) for order in permutations(range(m)))
    assert float(found.cosine.sum()) == pytest.approx(best, abs=1e-5)
    assert sorted(found.partner.tolist()) == list(range(m))


def test_a_dictionary_in_another_order_and_length_is_found_again(generator):
    left, order = torch.randn(200, 16, generator=generator), torch.randperm(200, generator=generator)
    right = left[order] * (0.1 + torch.rand(200, 1, generator=generator))
    for found in (match(left, right), match_above(left, right, 0.9)):
        assert torch.equal(order[found.partner], torch.arange(200))
        torch.testing.assert_close(found.cosine, torch.ones(200, dtype=torch.float64))


def test_the_opposite_direction_is_another_concept():
    left = torch.eye(2)
    found = match(left, torch.tensor([[-1.0, 0], [0, -1]]))
    assert found.partner.tolist() == [1, 0]
    assert found.cosine.tolist() == [0, 0]


def test_of_different_sizes_the_smaller_is_matched_whole(generator):
    left, right = torch.randn(5, 4, generator=generator), torch.randn(3, 4, generator=generator)
    there, back = match(left, right), match(right, left)
    assert int((there.partner < 0).sum()) == 2
    assert torch.equal(there.partner < 0, there.cosine.isnan())
    assert float(there.cosine.nansum()) == pytest.approx(float(back.cosine.sum()))
    for concept, partner in enumerate(back.partner.tolist()):
        assert there.partner[partner] == concept


@pytest.mark.parametrize("entries", [1, 2**24])
@pytest.mark.parametrize("floor", [-0.2, 0.0, 0.3, 0.6])
def test_above_a_floor_no_set_of_pairs_gains_more(generator, floor, entries):
    left, right = torch.randn(6, 3, generator=generator), torch.randn(5, 3, generator=generator)
    table = cosines(left, right)
    found = match_above(left, right, floor, entries=entries)
    paired = found.partner >= 0
    torch.testing.assert_close(found.cosine[paired], table[paired.nonzero()[:, 0], found.partner[paired]])
    assert torch.equal(found.cosine.isnan(), ~paired)
    assert len(set(found.partner[paired].tolist())) == int(paired.sum())
    assert bool((found.cosine[paired] > floor - 1e-6).all())
    gains = (table - floor).clamp(min=0)
    best = max(float(gains[torch.tensor(order), torch.arange(5)].sum()) for order in permutations(range(6), 5))
    assert float((found.cosine[paired] - floor).sum()) == pytest.approx(best, abs=1e-5)


def test_above_a_floor_that_none_reaches_all_stay_alone(generator):
    left = torch.randn(4, 8, generator=generator)
    assert match_above(left, -left, 0.99).partner.tolist() == [-1] * 4


def test_the_two_ways_agree_where_the_floor_cuts_nothing(generator):
    left, right = torch.randn(2, 80, 6, generator=generator)
    torch.testing.assert_close(match_above(left, right, -1.1).cosine.sum(), match(left, right).cosine.sum())


def test_above_a_floor_no_array_has_all_pairs(generator):
    left, right = torch.randn(2, 500, 32, generator=generator)
    with LargestArray() as largest:
        match_above(left, right, 0.5, entries=20_000)
    assert largest.numel <= 20_000


def test_a_row_of_zeros_has_no_partner_and_is_nobodys(generator):
    left = torch.randn(3, 4, generator=generator)
    right = left.clone()
    left[0] = 0
    for found in (match(left, right), match_above(left, right, 0.5), match_above(torch.zeros(3, 4), right, 0.5)):
        assert found.partner[0] == -1
    assert match(left, right).partner.tolist() == [-1, 1, 2]
    assert match(right, left).partner.tolist() == [-1, 1, 2]


def test_other_widths_and_too_many_pairs_are_refused():
    with pytest.raises(InsightError, match="of one d"):
        match(torch.ones(3, 4), torch.ones(3, 5))
    with pytest.raises(InsightError, match="found 20000 x 20000; use match_above"):
        match(torch.ones(20_000, 1), torch.ones(20_000, 1))
