"""Batches out of windows of tokens: a few windows are mixed while the next one is loaded in another thread.

The tokens of a window are visited in three periods, together with those of the two windows before it and the two after
it: memory holds three windows that are in use and one that is being loaded. Every token is visited once an epoch; the
first and the last periods of an epoch have fewer windows and fewer tokens. To begin at any step the windows of its
period are loaded, and nothing before them.

What a window's tokens are and where they come from is the loader's business: the shards of a cache, or a backbone that
encodes images as they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from ..format.shard import Form
from .tokens import Tokens

MIXED = 3  # windows in use at a time; 7 of half the size mix hardly better (measured)
HELD = MIXED + 1


@dataclass(frozen=True)
class Window:
    """A part of the tokens of an epoch."""

    epoch: int
    number: int
    n_tokens: int


W = TypeVar("W", bound=Window)
W_co = TypeVar("W_co", bound=Window, covariant=True)
Load = Callable[[W, Tokens, Event], None]
"""Fill `Tokens` with a window; once the event is set nobody wants it any more."""


class Plan(Protocol[W_co]):
    """In which order the tokens of one process are visited. n_tokens: in an epoch; is_whole: whether every epoch is one
    and the same window; longest: tokens that no window has more of.
    """

    n_tokens: int

    @property
    def is_whole(self) -> bool: ...

    @property
    def longest(self) -> int: ...

    def sizes(self, epoch: int) -> np.ndarray:
        """int64: how many tokens each window of an epoch has."""

    def windows(self, epoch: int, begin: int = 0) -> Iterator[W_co]:
        """The windows of an epoch in order, from number `begin` on."""

    def shuffled(self, n: int, epoch: int, *key: int) -> np.ndarray:
        """The numbers from 0 to n - 1 in a random order of this process's own."""


def check_batches(batch_size: int, seed: int, start_step: int) -> None:
    """`InsightError` unless there can be such batches."""
    if batch_size < 1 or seed < 0 or start_step < 0:
        raise InsightError(
            "expected a batch size of at least 1, a seed and a step of at least 0, found batch size"
            f" {batch_size}, seed {seed}, step {start_step}"
        )


def cut_batches(plan: Plan[W], form: Form, load: Load[W], batch_size: int, start_step: int) -> Iterator[Tensor]:
    """Endless float32 batches [batch_size, d] in the order of the plan, from `start_step` on.

    Every epoch visits every token once; batches run on across the end of an epoch.
    """
    epoch, token = divmod(start_step * batch_size, plan.n_tokens)
    room = Tokens.empty(plan.longest * (1 if plan.is_whole else HELD), form)
    stopped = Event()
    periods = _periods(plan, room, load, stopped, epoch, token)
    begun: list[Tensor] = []  # what a period's end gave to a batch that the next one must fill
    missing = batch_size
    with ThreadPoolExecutor(1, thread_name_prefix="windows") as thread:
        try:
            coming = thread.submit(next, periods)
            while True:
                order = coming.result()
                coming = thread.submit(next, periods)
                at = 0
                while at < len(order):
                    begun.append(room.take(order[at : at + missing]))
                    at += len(begun[-1])
                    missing -= len(begun[-1])
                    if not missing:
                        yield torch.cat(begun) if len(begun) > 1 else begun[0]
                        begun, missing = [], batch_size
        finally:
            stopped.set()


def _periods(plan: Plan[W], room: Tokens, load: Load[W], stopped: Event, epoch: int, token: int) -> Iterator[Tensor]:
    """For each period the places in `room` of its tokens in the order of their visit, without the first `token` of the
    epoch. They are there until the period after the next one is asked for.
    """
    if plan.is_whole:
        window = next(plan.windows(0))
        load(window, room.part(0, window.n_tokens), stopped)
        while True:
            yield torch.from_numpy(plan.shuffled(window.n_tokens, epoch, 1, 0)[token:])
            epoch, token = epoch + 1, 0
    place = 0
    while True:
        sizes = plan.sizes(epoch)
        lengths = np.zeros(len(sizes) + MIXED - 1, dtype=np.int64)
        for part in range(MIXED):
            lengths[part : part + len(sizes)] += sizes * (part + 1) // MIXED - sizes * part // MIXED
        ends = lengths.cumsum()
        begin = int(np.searchsorted(ends, token, side="right"))
        windows = plan.windows(epoch, max(0, begin - MIXED + 1))
        held: dict[int, np.ndarray] = {}  # where the tokens of windows are, in random order
        for period in range(begin, len(lengths)):
            numbers = range(max(0, period - MIXED + 1), min(period + 1, len(sizes)))
            for number in numbers:
                if number not in held:
                    window = next(windows)
                    first = place * plan.longest
                    load(window, room.part(first, first + window.n_tokens), stopped)
                    held[number] = plan.shuffled(window.n_tokens, epoch, 1, number) + first
                    place = (place + 1) % HELD
            held = {number: held[number] for number in numbers}
            order = np.concatenate([_part(places, period - number) for number, places in held.items()])
            order = order[plan.shuffled(len(order), epoch, 2, period)]
            yield torch.from_numpy(order[max(0, token - int(ends[period] - lengths[period])) :])
        epoch, token = epoch + 1, 0


def _part(places: np.ndarray, part: int) -> np.ndarray:
    return places[len(places) * part // MIXED : len(places) * (part + 1) // MIXED]
