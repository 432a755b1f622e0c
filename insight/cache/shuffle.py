"""In which order training sees the tokens of a cache: shuffled across shards, in bounded memory, from any step on.

The cache is cut into blocks of 64 consecutive tokens (a shard's last block may be shorter). In every epoch a random
permutation of the blocks is dealt out to windows of equal size; the tokens of a window are loaded together, in the
order of the disk, and visited in a random permutation of their own. A cache that fits into the memory allowed is one
window, and its epoch a plain random permutation of all tokens. Everything is a function of (seed, epoch, window): to
begin at any step one window is loaded, and nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 64


@dataclass(frozen=True)
class Window:
    """A part of an epoch. first: how many tokens of the epoch come before it; n_tokens: its size;
    runs: int64 [r, 2], first token and count of what it holds, ascending, each within one shard.
    """

    epoch: int
    number: int
    first: int
    n_tokens: int
    runs: np.ndarray


class ShufflePlan:
    """The order of all tokens in every epoch of one seed.

    sizes: int64, tokens per shard; window_tokens: how many tokens a window may hold (exceeded by less than a block).
    """

    def __init__(self, sizes: np.ndarray, window_tokens: int, seed: int) -> None:
        ends = np.cumsum(sizes)
        firsts = [np.arange(end - size, end, BLOCK) for size, end in zip(sizes.tolist(), ends.tolist(), strict=True)]
        self._first = np.concatenate(firsts)
        self._size = np.diff(np.append(self._first, ends[-1]))
        self._opens_shard = np.isin(self._first, ends - sizes)
        self.n_tokens = int(ends[-1])
        self.n_windows = -(-self.n_tokens // max(window_tokens, BLOCK))
        self.seed = seed

    def windows(self, epoch: int) -> Iterator[Window]:
        """The windows of an epoch, in order; together they hold every token once."""
        dealt = self._rng(epoch, 0).permutation(len(self._first))
        first = 0
        for number, blocks in enumerate(np.array_split(dealt, self.n_windows)):
            blocks = np.sort(blocks)
            opens_run = np.append(True, np.diff(blocks) != 1) | self._opens_shard[blocks]
            counts = np.add.reduceat(self._size[blocks], np.flatnonzero(opens_run))
            runs = np.stack([self._first[blocks[opens_run]], counts], axis=1)
            n_tokens = int(counts.sum())
            yield Window(epoch, number, first, n_tokens, runs)
            first += n_tokens

    def windows_from(self, epoch: int, token: int) -> Iterator[Window]:
        """Endlessly over epochs, beginning with the window that holds the `token`-th token visited in `epoch`."""
        while True:
            yield from (window for window in self.windows(epoch) if window.first + window.n_tokens > token)
            epoch, token = epoch + 1, 0

    def order(self, window: Window) -> np.ndarray:
        """In which order the tokens of a window are visited: int64 permutation of its `n_tokens` places."""
        return self._rng(window.epoch, 1 + window.number).permutation(window.n_tokens)

    def _rng(self, epoch: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, stream])
