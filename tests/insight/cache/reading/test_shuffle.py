"""The order of training: every token once per epoch, well mixed, in windows that keep to the memory allowed."""

import subprocess
import sys
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from insight.cache.format.blocks import block_edges
from insight.cache.format.shard import Form
from insight.cache.reading.shuffle import PieceWindow, ShufflePlan
from insight.cache.reading.tokens import Tokens
from insight.cache.reading.windows import cut_batches
from insight.cache.streaming.image_order import ImagePlan, ImageWindow
from sae.errors import InsightError

IMAGES = st.integers(1, 40)
TOKENS = st.integers(1, 700)
SEEDS = st.integers(0, 2**64)


def tokens_of(window: PieceWindow, edges: np.ndarray) -> np.ndarray:
    """The tokens of a window as they are loaded."""
    image, piece = np.divmod(window.pieces, len(edges) - 1)
    starts = image * edges[-1] + edges[piece]
    return np.concatenate([np.arange(n) + start for start, n in zip(starts, np.diff(edges)[piece])])


def visits(plan: ShufflePlan, edges: np.ndarray, size: int, step: int) -> np.ndarray:
    """The tokens of a batch, by number: batches of features that are their own numbers."""

    def load(window: PieceWindow, tokens: Tokens, stopped: Event) -> None:
        tokens.stored[:, 0] = torch.from_numpy(tokens_of(window, edges))

    return next(cut_batches(plan, Form(1, 1, "float32"), load, size, step))[:, 0].long().numpy()


def epoch_of(plan: ShufflePlan, epoch: int, edges: np.ndarray) -> np.ndarray:
    """Its tokens in the order of their visit."""
    return visits(plan, edges, plan.n_tokens, epoch)


@given(images=IMAGES, tokens=TOKENS, room=st.integers(1, 3000), seed=SEEDS, epoch=st.integers(0, 2**40))
def test_an_epoch_visits_every_token_once(images: int, tokens: int, room: int, seed: int, epoch: int) -> None:
    edges = block_edges(tokens)
    plan = ShufflePlan(images, edges, room, seed=seed)
    assert np.array_equal(np.sort(epoch_of(plan, epoch, edges)), np.arange(images * tokens))


@given(images=IMAGES, tokens=TOKENS, room=st.integers(1, 3000), world=st.integers(1, 5), epoch=st.integers(0, 9))
def test_ranks_divide_every_epoch_and_have_as_much_in_each(
    images: int, tokens: int, room: int, world: int, epoch: int
) -> None:
    edges = block_edges(tokens)
    assume(images >= world)
    plans = [ShufflePlan(images, edges, room, seed=3, rank=rank, world=world) for rank in range(world)]
    orders = [epoch_of(plan, epoch, edges) for plan in plans]
    assert [len(order) for order in orders] == [plan.n_tokens for plan in plans]
    assert np.array_equal(np.sort(np.concatenate(orders)), np.arange(images * tokens))
    longest = 2 * np.diff(edges).max()  # a piece of each size
    assert max(map(len, orders)) - min(map(len, orders)) <= longest


@given(images=IMAGES, tokens=TOKENS, room=st.integers(1, 3000), rank=st.integers(0, 2), data=st.data())
def test_an_epoch_can_be_entered_at_any_token(
    images: int, tokens: int, room: int, rank: int, data: st.DataObject
) -> None:
    edges = block_edges(tokens)
    assume(images >= 3)
    plan = ShufflePlan(images, edges, room, seed=1, rank=rank, world=3)
    token = data.draw(st.integers(0, plan.n_tokens - 1))
    assert visits(plan, edges, 1, 4 * plan.n_tokens + token) == epoch_of(plan, 4, edges)[token]


@given(images=IMAGES, tokens=TOKENS, room=st.integers(64, 3000), world=st.integers(1, 3))
def test_windows_keep_to_their_size_and_to_the_order_of_the_disk(
    images: int, tokens: int, room: int, world: int
) -> None:
    edges = block_edges(tokens)
    assume(images >= world)
    plan = ShufflePlan(images, edges, room, seed=0, rank=world - 1, world=world)
    windows = [*plan.windows(0)]
    assert plan.sizes(0).tolist() == [len(tokens_of(window, edges)) for window in windows]
    for window in windows:
        assert 0 < window.n_tokens <= plan.longest <= room + 2 * np.diff(edges).max()
        assert (np.diff(window.pieces) > 0).all()
    assert [window.pieces.tolist() for window in plan.windows(0, 1)] == [w.pieces.tolist() for w in windows[1:]]


def test_epochs_seeds_and_worlds_have_orders_of_their_own() -> None:
    edges = block_edges(128)
    plans = [ShufflePlan(60, edges, room, seed=seed) for room in (1000, 10_000) for seed in (0, 1)]
    orders = [epoch_of(plan, epoch, edges) for plan in plans for epoch in (0, 1)]
    orders += [epoch_of(ShufflePlan(120, edges, 1000, seed=0, world=2), 0, edges)]
    for number, order in enumerate(orders):
        for other in orders[:number]:
            assert (order == other).mean() < 0.01
    assert np.array_equal(orders[0], epoch_of(ShufflePlan(60, edges, 1000, seed=0), 0, edges))


def test_too_few_pieces_for_the_processes_are_refused() -> None:
    with pytest.raises(InsightError, match="expected tokens for each of 9 processes, found 4 pieces"):
        ShufflePlan(2, block_edges(128), 1000, seed=0, rank=0, world=9)


@pytest.mark.parametrize("room", [1 << 20, 4096])
def test_a_batch_is_a_fair_sample_of_all_images(room: int) -> None:
    """Tokens of an image in a batch, against drawing without return (hypergeometric): the same mean and spread, where
    the window holds all; where it holds a sixteenth, the blocks of an image raise the spread, but by no more than
    the four blocks of an image explain (a batch of 1,024 tokens from 64 blocks of 64: 16 of each block)."""
    images, tokens, batch = 256, 256, 1024
    edges = block_edges(tokens)
    counts = []
    for seed in range(20):
        order = visits(ShufflePlan(images, edges, room, seed=seed), edges, batch, 30)
        counts.append(np.bincount(order // tokens, minlength=images))
    spread = np.var(counts)
    chance = batch / images * (1 - 1 / images) * (images * tokens - batch) / (images * tokens - 1)
    if room > images * tokens:
        assert spread == pytest.approx(chance, rel=0.1)
    else:
        assert chance < spread < chance + batch / images * 16


def test_consecutive_visits_are_not_neighbours_in_the_image() -> None:
    edges = block_edges(256)
    order = epoch_of(ShufflePlan(256, edges, 1 << 20, seed=3), 0, edges)
    assert (np.abs(np.diff(order)) == 1).mean() < 0.001


PLAN_11_MILLION = """
import resource, time
from insight.cache.format.blocks import block_edges
from insight.cache.reading.shuffle import ShufflePlan

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
plan = ShufflePlan(11_000_000, block_edges(196), 250_000, seed=1, rank=1, world=2)
window = next(plan.windows(2, plan.n_windows // 3))
assert window.n_tokens > 240_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, time.process_time() - start)
"""


@pytest.mark.slow
def test_a_plan_of_44_million_blocks_takes_little_memory_and_a_few_seconds() -> None:
    done = subprocess.run([sys.executable, "-c", PLAN_11_MILLION], capture_output=True, text=True, check=True)
    mebibytes, seconds = map(float, done.stdout.split())
    assert mebibytes < 500
    assert seconds < 20  # about 2 on a processor of our own


def images_of(window: ImageWindow, starts: np.ndarray) -> list[int]:
    return [int(starts[part]) + first + i for lane in window.lanes for part, first, count in lane for i in range(count)]


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=30) | st.integers(1, 60).map(lambda n: [1] * n),
    room=st.integers(1, 100),
    seed=SEEDS,
    data=st.data(),
)
def test_a_stream_visits_every_image_once_an_epoch_and_can_be_entered_anywhere(
    counts: list[int], room: int, seed: int, data: st.DataObject
) -> None:
    starts = np.cumsum([0, *counts])
    plan = ImagePlan(np.array(counts), 5, room, seed=seed)
    epoch = [*plan.windows(7)]
    assert plan.sizes(7).tolist() == [window.n_tokens for window in epoch]
    for window in epoch:
        assert len(images_of(window, starts)) * 5 == window.n_tokens <= plan.longest
    assert sorted(image for window in epoch for image in images_of(window, starts)) == list(range(sum(counts)))
    begin = data.draw(st.integers(0, plan.n_windows - 1))
    assert [*plan.windows(7, begin)] == epoch[begin:]
    if room >= 16:
        assert plan.longest <= 5 * room
