"""In which order training sees tokens: shuffled over everything, in bounded memory, from any step on, on any rank.

Images are cut into pieces, neighbouring blocks of one image. In every epoch the pieces are dealt at random to ranks and
windows; the tokens of a window are loaded together, in the order of the disk, and visited at random (see `windows`).
The pieces of an image come in two sizes at most, one token apart; each size has a permutation of its own and every rank
and window gets its fixed part of each. So how many tokens a rank and a window hold is arithmetic, the same in every
epoch, and any step is found without those before it. All that is stored is the permutation, four bytes a piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sae.errors import InsightError

from .windows import Window


@dataclass(frozen=True)
class PieceWindow(Window):
    """pieces: int64, ascending, numbers of the pieces it holds: piece j of an image i of q pieces is q i + j."""

    pieces: np.ndarray


class ShufflePlan:
    """The order of the tokens of one rank in every epoch of one seed.

    images: how many; edges: int64 [q + 1], where the pieces of an image begin and the last one ends, in tokens;
    window_tokens: how many tokens a window may hold (exceeded by less than two pieces).
    """

    def __init__(
        self, images: int, edges: np.ndarray, window_tokens: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        lengths = np.diff(edges)
        self.seed, self.rank, self.world = seed, rank, world
        self._sizes = [
            _Size(images, len(lengths), np.flatnonzero(lengths == tokens), int(tokens)) for tokens in np.unique(lengths)
        ]
        self._dealt = [(size.count * rank // world, size.count * (rank + 1) // world) for size in self._sizes]
        counts = [stop - start for start, stop in self._dealt]
        self.n_tokens = sum(count * size.tokens for count, size in zip(counts, self._sizes, strict=True))
        if not self.n_tokens:
            raise InsightError(
                f"expected tokens for each of {world} processes, found {images * len(lengths)} pieces of images in all;"
                " use fewer processes or more images"
            )
        self.n_windows = min(-(-self.n_tokens // max(window_tokens, 1)), max(counts))

    @property
    def is_whole(self) -> bool:
        """Whether every epoch is one and the same window."""
        return self.n_windows == self.world == 1

    def sizes(self, epoch: int) -> np.ndarray:
        """int64: how many tokens each window has, the same in every epoch."""
        sizes = np.zeros(self.n_windows, dtype=np.int64)
        edges = np.arange(self.n_windows + 1)
        for (start, stop), size in zip(self._dealt, self._sizes, strict=True):
            sizes += np.diff((stop - start) * edges // self.n_windows) * size.tokens
        return sizes

    @property
    def longest(self) -> int:
        """Tokens that no window has more of."""
        parts = zip(self._dealt, self._sizes, strict=True)
        return sum(-((start - stop) // self.n_windows) * size.tokens for (start, stop), size in parts)

    def windows(self, epoch: int, begin: int = 0) -> Iterator[PieceWindow]:
        """The windows of an epoch in order, from number `begin` on; together they hold every token of the rank once."""
        dealt = [self._deal(epoch, number) for number in range(len(self._sizes))]
        for window in range(begin, self.n_windows):
            parts = [
                size.pieces(part[len(part) * window // self.n_windows : len(part) * (window + 1) // self.n_windows])
                for part, size in zip(dealt, self._sizes, strict=True)
            ]
            n_tokens = sum(len(part) * size.tokens for part, size in zip(parts, self._sizes, strict=True))
            yield PieceWindow(epoch, window, n_tokens, np.sort(np.concatenate(parts)))

    def shuffled(self, n: int, epoch: int, *key: int) -> np.ndarray:
        """The numbers from 0 to n - 1 in a random order of this rank's own."""
        return permutation(n, self.seed, epoch, *key, self.rank, self.world)

    def _deal(self, epoch: int, size: int) -> np.ndarray:
        """This rank's part of the pieces of one size, in random order."""
        start, stop = self._dealt[size]
        return permutation(self._sizes[size].count, self.seed, epoch, 0, size)[start:stop]


def permutation(n: int, *key: int) -> np.ndarray:
    """The numbers from 0 to n - 1 in an order that the key decides; int32 where they fit."""
    numbers = np.arange(n, dtype=np.int32 if n < 1 << 31 else np.int64)
    np.random.default_rng(key).shuffle(numbers)
    return numbers


@dataclass(frozen=True)
class _Size:
    """All pieces of one size. images: how many there are; of_image: pieces of each, of every size; slots: int64, which
    of those have this size; tokens: how many each of them holds.
    """

    images: int
    of_image: int
    slots: np.ndarray
    tokens: int

    @property
    def count(self) -> int:
        return self.images * len(self.slots)

    def pieces(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers among the pieces of this size → numbers among all."""
        images, slot = np.divmod(numbers.astype(np.int64), len(self.slots))
        return images * self.of_image + self.slots[slot]
