"""Batches out of windows of tokens: one window is used while the next one is loaded in another thread.

What a window's tokens are and where they come from is the loader's business: the shards of a cache, or a backbone that
encodes images as they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from .tokens import Tokens


@dataclass(frozen=True)
class Window:
    """A part of an epoch. first: how many tokens of the epoch come before it, on its rank; n_tokens: its size."""

    epoch: int
    number: int
    first: int
    n_tokens: int


W = TypeVar("W", bound=Window)


class Plan(Protocol[W]):
    """In which order the tokens of one process are visited. n_tokens: in an epoch; n_windows: in an epoch;
    is_whole: whether every epoch is one and the same window.
    """

    n_tokens: int
    n_windows: int

    @property
    def is_whole(self) -> bool: ...

    def windows_from(self, epoch: int, token: int) -> Iterator[W]:
        """Endlessly over epochs, beginning with the window that holds the `token`-th token visited in `epoch`."""

    def order(self, window: W) -> np.ndarray:
        """In which order the tokens of a window are visited: a permutation of its `n_tokens` places."""


@dataclass(frozen=True)
class Loading(Generic[W]):
    """What a loader is asked for. place: 0 or 1 in turn, the memory it may use again; stopped: set when nobody wants
    the window any more.
    """

    window: W
    place: int
    stopped: Event


def check_batches(batch_size: int, seed: int, start_step: int) -> None:
    """`InsightError` unless there can be such batches."""
    if batch_size < 1 or seed < 0 or start_step < 0:
        raise InsightError(
            "expected a batch size of at least 1, a seed and a step of at least 0, found batch size"
            f" {batch_size}, seed {seed}, step {start_step}"
        )


def cut_batches(
    plan: Plan[W], load: Callable[[Loading[W]], Tokens], batch_size: int, start_step: int
) -> Iterator[Tensor]:
    """Endless float32 batches [batch_size, d] in the order of the plan, from `start_step` on.

    Every epoch visits every token once; batches run on across the end of an epoch.
    """
    epoch, token = divmod(start_step * batch_size, plan.n_tokens)
    begun: list[Tensor] = []  # what a window's end gave to a batch that the next window must fill
    missing = batch_size
    for window, tokens, order in _load_ahead(plan, load, epoch, token):
        at = max(0, token - window.first)
        token = 0
        while at < window.n_tokens:
            begun.append(tokens.take(order[at : at + missing]))
            at += len(begun[-1])
            missing -= len(begun[-1])
            if not missing:
                yield torch.cat(begun) if len(begun) > 1 else begun[0]
                begun, missing = [], batch_size


def _load_ahead(
    plan: Plan[W], load: Callable[[Loading[W]], Tokens], epoch: int, token: int
) -> Iterator[tuple[W, Tokens, Tensor]]:
    """Each window with its tokens and the order of their visit. A window that holds everything is loaded once."""
    windows = plan.windows_from(epoch, token)
    stopped = Event()
    whole: Tokens | None = None

    def following(place: int) -> tuple[W, Tokens, Tensor]:
        nonlocal whole
        window = next(windows)
        order = torch.from_numpy(plan.order(window))
        if plan.is_whole:
            whole = whole or load(Loading(window, 0, stopped))
            return window, whole, order
        return window, load(Loading(window, place, stopped)), order

    with ThreadPoolExecutor(1, thread_name_prefix="windows") as thread:
        try:
            place = 0
            coming = thread.submit(following, place)
            while True:
                found = coming.result()
                place = 1 - place
                coming = thread.submit(following, place)
                yield found
        finally:
            stopped.set()
