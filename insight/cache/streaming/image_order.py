"""In which order a stream sees images: parts of a source in random order, several at a time, from any image on.

A part is what can be read apart from the rest: one image, or a tar of many. In every epoch the parts are permuted and
dealt to lanes; a lane is read one part after the other, and a window takes the next images of every lane. Parts of one
image need but one lane: their order is a random permutation of all images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..reading.shuffle import permutation
from ..reading.windows import Window

_LANES = 16  # tars that a window takes images of


@dataclass(frozen=True)
class ImageWindow(Window):
    """lanes: for each lane its images in this window as (part, number of the first of them in the part, how many)."""

    lanes: list[list[tuple[int, int, int]]]


class ImagePlan:
    """The order of images in every epoch of one seed.

    counts: int64, images of each part; tokens: of each image; window_images: how many a window may hold.
    """

    def __init__(self, counts: np.ndarray, tokens: int, window_images: int, *, seed: int) -> None:
        self._counts, self._tokens, self._seed = counts, tokens, seed
        self._n_lanes = 1 if counts.max() == 1 else min(_LANES, len(counts))
        self.n_images = int(counts.sum())
        self.n_tokens = self.n_images * tokens
        self.n_windows = -(-self.n_images // max(1, window_images - self._n_lanes + 1))

    @property
    def longest(self) -> int:
        """Tokens that no window has more of."""
        return (-(-self.n_images // self.n_windows) + self._n_lanes - 1) * self._tokens

    @property
    def is_whole(self) -> bool:
        """Whether every epoch is one and the same window."""
        return self.n_windows == 1

    def sizes(self, epoch: int) -> np.ndarray:
        """int64: how many tokens each window of an epoch has."""
        edges = np.arange(self.n_windows + 1)
        of_lanes = [np.diff(ends[-1] * edges // self.n_windows) for _, ends in self._lanes(epoch)]
        return np.sum(of_lanes, axis=0) * self._tokens

    def windows(self, epoch: int, begin: int = 0) -> Iterator[ImageWindow]:
        """The windows of an epoch in order, from number `begin` on; together they hold every image once."""
        lanes, sizes = self._lanes(epoch), self.sizes(epoch)
        for number in range(begin, self.n_windows):
            taken = [
                _cut(lane, ends, ends[-1] * number // self.n_windows, ends[-1] * (number + 1) // self.n_windows)
                for lane, ends in lanes
            ]
            yield ImageWindow(epoch, number, int(sizes[number]), taken)

    def shuffled(self, n: int, epoch: int, *key: int) -> np.ndarray:
        """The numbers from 0 to n - 1 in a random order."""
        return permutation(n, self._seed, epoch, *key)

    def _lanes(self, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each lane its parts in order, and how many images come before each of them and in all."""
        order = permutation(len(self._counts), self._seed, epoch, 0)
        lanes = [order[lane :: self._n_lanes] for lane in range(self._n_lanes)]
        return [(lane, np.append(0, self._counts[lane].cumsum())) for lane in lanes]


def _cut(lane: np.ndarray, ends: np.ndarray, start: int, stop: int) -> list[tuple[int, int, int]]:
    """Images `start` to `stop` of a lane. ends: how many images come before each of its parts, and all."""
    low, high = np.searchsorted(ends, [start, stop - 1], side="right") - 1
    begin = np.maximum(ends[low : high + 1], start)
    count = np.minimum(ends[low + 1 : high + 2], stop) - begin
    parts = lane[low : high + 1], begin - ends[low : high + 1], count
    return [(int(part), int(first), int(n)) for part, first, n in zip(*parts, strict=True) if n > 0]
