"""What a source of images is: anything that gives its images in parts, each image with a name and a way to load it.

A source holds no pixels. What it holds besides (a list of names, row numbers) is said in each source's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from .decode import BadImage


@dataclass(frozen=True)
class Item:
    """One image of a source, not yet decoded.

    id: unique in its source; label, split: as the source says, None where it says nothing;
    load: the image as RGB, or `BadImage`; may be called in another thread, once;
    load_mask: the class of each pixel, an integer array [H, W] with -1 for void, or `BadImage`; None: no mask.
    """

    id: str
    label: str | None
    split: str | None
    load: Callable[[], Image.Image]
    load_mask: Callable[[], np.ndarray] | None = None


class ImageSource(Protocol):
    """Images in a fixed order, cut into parts that can be read apart from each other."""

    @property
    def name(self) -> str:
        """What an index calls this source."""

    @property
    def kind(self) -> str:
        """ "folder", "list", "webdataset", "torchvision", "huggingface" or a layout's word ("voc")."""

    @property
    def place(self) -> str:
        """Where it is: a path, a pattern or a name."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the masks' classes; () without masks."""

    def parts(self, size: int) -> Iterator[list[str]]:
        """What can be read apart, in a fixed order, about `size` images each where the source can choose.

        `InsightError` when there are none. A part is plain text: it can be stored and read by another process.
        """

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        """The images of a part from number `start` on, always the same ones in the same order.

        An image that is not good has a `load` that raises `BadImage`. `InsightError` when the source itself cannot be
        read now (it is gone, or the machine is in trouble): nothing is known of its images then.
        """


def bad_item(id: str, place: str, reason: str) -> Item:
    """An image that is known not to be good before anything is decoded; `place` is what its `BadImage` calls it."""

    def load() -> Image.Image:
        raise BadImage(place, reason)

    return Item(id, None, None, load)
