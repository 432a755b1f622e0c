"""Any map-style dataset of torchvision's kind as a source of images.

Such a dataset gives (image, target) by index, the image as a PIL image or as the path of a file. Only indices are held
here; what the dataset itself holds is its own affair (CIFAR-10 keeps all its pixels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sae.errors import InsightError

from .decode import BadImage, decode, to_rgb
from .masks import mask_of, read_classes
from .ranges import ranges, read_range
from .source import Item, bad_item


class TorchvisionSet:
    """The images of a dataset made without `transform`; ids are their indices.

    name, place: what an index says of it, the dataset's class when not given; split: of all its images; classes: a file
    that names the classes of its segmentation masks (targets that are PIL images), without it they are not read.
    A whole number as target is a label, by its name where the dataset has `classes`.
    """

    kind = "torchvision"

    def __init__(
        self,
        dataset: Any,
        *,
        name: str | None = None,
        place: str | None = None,
        split: str | None = None,
        classes: Path | str | None = None,
    ) -> None:
        self.dataset, self.split = dataset, split
        self.name = name or type(dataset).__name__
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise InsightError(f"{self.name}: expected a dataset with a length and images by index, found one without")
        self.place = place or self.name
        self.classes = () if classes is None else read_classes(classes)
        self._names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None) or ()
        self._targets = _targets(dataset)

    def parts(self, size: int) -> Iterator[list[str]]:
        """Ranges of `size` indices such as `1024:1280`; `InsightError` when the dataset is empty."""
        return ranges(len(self.dataset), size, self.place)

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        """The images of a range. Where labels can only be had with the images, these are decoded here, one by one."""
        for index in read_range(part, len(self.dataset), self.place)[start:]:
            sample = cache(partial(self._sample, index))  # image and mask come together: decode them once
            if self._targets is None and not self.classes:
                try:
                    label = self._label(sample()[1])
                except BadImage as bad:
                    yield bad_item(str(index), self._place(index), bad.reason)
                    continue
            else:
                label = None if self._targets is None else self._label(self._targets[index])
            mask = partial(self._mask, index, sample) if self.classes else None
            yield Item(str(index), label, self.split, partial(self._image, index, sample), mask)

    def _place(self, index: int) -> str:
        return f"{self.place}, image {index}"

    def _sample(self, index: int) -> tuple[Any, Any]:
        """What the dataset gives; whatever it raises over one image makes that image bad."""
        try:
            sample = self.dataset[index]
        except Exception as error:
            lines = str(error).splitlines() or [""]
            raise BadImage(self._place(index), f"damaged ({type(error).__name__}: {lines[0][:160]})") from None
        return (
            (sample[0], sample[1] if len(sample) > 1 else None) if isinstance(sample, (tuple, list)) else (sample, None)
        )

    def _image(self, index: int, sample: Callable[[], tuple[Any, Any]]) -> Image.Image:
        image = sample()[0]
        if isinstance(image, (str, Path)):
            return decode(image)
        if not isinstance(image, Image.Image):
            raise InsightError(
                f"{self.place}: expected PIL images or paths, found {type(image).__name__}; make the dataset without"
                " transform"
            )
        return to_rgb(image, self._place(index))

    def _mask(self, index: int, sample: Callable[[], tuple[Any, Any]]) -> np.ndarray:
        mask = sample()[1]
        if not isinstance(mask, Image.Image):
            raise InsightError(
                f"{self.place}: expected PIL images as targets, the masks, found {type(mask).__name__}; leave out"
                " classes to go without masks"
            )
        return mask_of(mask, self._place(index), len(self.classes))

    def _label(self, target: Any) -> str | None:
        """A target that is a number or a word as a label, None for every other."""
        if isinstance(target, str):
            return target or None
        number = _whole(target)
        if number is None or number < 0:
            return None
        name = self._names[number] if number < len(self._names) else number
        return ", ".join(name) if isinstance(name, (tuple, list)) else str(name)


def _whole(target: Any) -> int | None:
    """The number, if a target is a whole number of whatever type."""
    if isinstance(target, bool) or getattr(target, "shape", ()) != ():
        return None
    value = target.item() if hasattr(target, "item") else target
    return value if isinstance(value, int) else None


def _targets(dataset: Any) -> Any:
    """The numbers of all images where the dataset lists them, so that labels cost no decoding; else None."""
    if getattr(dataset, "target_transform", None) is not None or getattr(dataset, "transforms", None) is not None:
        return None
    for name in ("targets", "labels", "_labels"):
        listed: Any = getattr(dataset, name, None)
        if hasattr(listed, "__len__") and len(listed) == len(dataset) > 0 and _whole(listed[0]) is not None:
            return listed
    return None
