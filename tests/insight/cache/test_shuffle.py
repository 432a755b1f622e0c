"""The order of training: every token once per epoch, well mixed, in windows that keep to the memory allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insight.cache.shuffle import BLOCK, ShufflePlan, Window

SIZES = st.lists(st.integers(1, 700), min_size=1, max_size=8).map(np.array)
SEEDS = st.integers(0, 2**64)


def visited(plan: ShufflePlan, window: Window) -> np.ndarray:
    """The tokens of a window in the order of their visit."""
    held = np.concatenate([np.arange(first, first + count) for first, count in window.runs])
    return held[plan.order(window)]


def epoch_of(plan: ShufflePlan, epoch: int) -> np.ndarray:
    return np.concatenate([visited(plan, window) for window in plan.windows(epoch)])


@given(sizes=SIZES, window_tokens=st.integers(1, 3000), seed=SEEDS, epoch=st.integers(0, 2**40))
def test_an_epoch_visits_every_token_once(sizes: np.ndarray, window_tokens: int, seed: int, epoch: int) -> None:
    plan = ShufflePlan(sizes, window_tokens, seed)
    assert np.array_equal(np.sort(epoch_of(plan, epoch)), np.arange(sizes.sum()))


@given(sizes=SIZES, window_tokens=st.integers(BLOCK, 3000), seed=SEEDS)
def test_windows_keep_to_their_size_and_runs_to_one_shard(sizes: np.ndarray, window_tokens: int, seed: int) -> None:
    plan = ShufflePlan(sizes, window_tokens, seed)
    ends = np.cumsum(sizes)
    before = 0
    for window in plan.windows(0):
        assert window.first == before
        before += window.n_tokens
        first, last = window.runs[:, 0], window.runs.sum(1) - 1
        assert (np.searchsorted(ends, first, side="right") == np.searchsorted(ends, last, side="right")).all()
        assert (first[1:] > last[:-1]).all()


@given(sizes=SIZES, window_tokens=st.integers(1, 3000), seed=SEEDS, epoch=st.integers(0, 9), data=st.data())
def test_an_epoch_can_be_entered_at_any_token(
    sizes: np.ndarray, window_tokens: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    plan = ShufflePlan(sizes, window_tokens, seed)
    token = data.draw(st.integers(0, int(sizes.sum()) - 1))
    window = next(plan.windows_from(epoch, token))
    assert window.first <= token < window.first + window.n_tokens
    assert visited(plan, window)[token - window.first] == epoch_of(plan, epoch)[token]


def test_windows_hold_no_more_than_a_block_too_much() -> None:
    rng = np.random.default_rng()
    for _ in range(50):
        sizes, room = rng.integers(1, 20) * np.full(rng.integers(1, 30), 256), int(rng.integers(64, 9000))
        plan = ShufflePlan(sizes, room, seed=int(rng.integers(1000)))
        assert max(window.n_tokens for window in plan.windows(0)) <= room + BLOCK


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    sizes = np.array([640, 640])
    plans = [ShufflePlan(sizes, room, seed) for room in (200, 5000) for seed in (0, 1)]
    orders = [epoch_of(plan, epoch) for plan in plans for epoch in (0, 1)]
    for number, order in enumerate(orders):
        for other in orders[:number]:
            assert (order == other).mean() < 0.01
    assert np.array_equal(orders[0], epoch_of(ShufflePlan(sizes, 200, 0), 0))


@pytest.mark.parametrize("room", [1 << 20, 4096])
def test_a_batch_is_a_fair_sample_of_all_images(room: int) -> None:
    """Tokens of an image in a batch, against drawing without return (hypergeometric): the same mean and spread, where
    the window holds all; where it holds a sixteenth, the blocks of an image raise the spread, but by no more than
    the four blocks of an image explain (a batch of 1,024 tokens from 64 blocks of 64: 16 of each block)."""
    images, tokens, batch = 256, 256, 1024
    counts = []
    for seed in range(20):
        order = epoch_of(ShufflePlan(np.full(16, images // 16 * tokens), room, seed), 0)
        counts.append(np.bincount(order[:batch] // tokens, minlength=images))
    spread = np.var(counts)
    chance = batch / images * (1 - 1 / images) * (images * tokens - batch) / (images * tokens - 1)
    if room > images * tokens:
        assert spread == pytest.approx(chance, rel=0.1)
    else:
        assert chance < spread < chance + batch / images * 16


def test_consecutive_visits_are_not_neighbours_in_the_image() -> None:
    order = epoch_of(ShufflePlan(np.full(8, 32 * 256), 1 << 20, 3), 0)
    assert (np.abs(np.diff(order)) == 1).mean() < 0.001
