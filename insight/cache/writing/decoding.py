"""From the parts of a source to decoded images: what is left to do is listed in order, and each image decoded."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sae.errors import InsightError

from ...backbones import Backbone
from ...data import BadImage, ImageSource, Item, class_map
from .journal import Journal
from .making import Making
from .request import Request


@dataclass(frozen=True)
class Target:
    """A cache to be written: what is asked of it and what is noted of it."""

    request: Request
    journal: Journal


@dataclass(frozen=True)
class Stretch:
    """Images of a part that become one shard, of every target that has not got it yet."""

    part: int
    items: Sequence[str]
    makings: list[tuple[Target, Making]]


@dataclass(frozen=True)
class Photo:
    """An image to be decoded; next: number in the part of the one after it."""

    stretch: Stretch
    item: Item
    next: int


@dataclass(frozen=True)
class Decoded:
    """What became of a photo: the backbones' inputs [3, S, S] by S and its classes [h*w] by grid, or the reason why
    there are none."""

    photo: Photo
    images: dict[int, Tensor]
    classes: dict[tuple[int, int], np.ndarray]
    reason: str = ""


@dataclass(frozen=True)
class End:
    """No more images come in the stretch. last: nor in its part."""

    stretch: Stretch
    last: bool


def photos_to_encode(
    source: ImageSource, targets: Sequence[Target], rank: int, world: int, known: Container[str]
) -> Iterator[Photo | End]:
    """The images that any target still needs, stretch by stretch, each stretch closed by its `End`.

    The targets have the same parts; of these, the ones of this rank. Images that are `known` are passed over.
    """
    for part, items in targets[0].journal.parts(rank, world):
        yield from _of_part(source, targets, part, items, known)


def _of_part(
    source: ImageSource, targets: Sequence[Target], part: int, items: Sequence[str], known: Container[str]
) -> Iterator[Photo | End]:
    size = targets[0].request.shard_images
    images, upcoming, position, number, last = None, None, 0, 0, False
    while not last:
        notes = [target.journal.note(part, number) for target in targets]
        done = [note for note in notes if note is not None]
        if len(done) == len(targets):
            images, position, last = None, done[0].next, done[0].last
        else:
            makings = [
                (target, Making(target.journal, target.request.form, part, number, size=size, start=position))
                for target, note in zip(targets, notes, strict=True)
                if note is None
            ]
            stretch = Stretch(part, items, makings)
            held, start = min((making.seen.images, making.next) for _, making in makings)
            if images is None or start != position:
                images, position = read(source, items, start, known), start
                upcoming = next(images, None)
            while upcoming is not None and held < size:
                position, item = upcoming
                yield Photo(stretch, item, position)
                held, upcoming = held + 1, next(images, None)
            last = upcoming is None
            yield End(stretch, last)
        number += 1


def read(
    source: ImageSource, items: Sequence[str], start: int = 0, known: Container[str] = ()
) -> Iterator[tuple[int, Item]]:
    """The images of a part from number `start` on that are not known, each with the number after its own."""
    try:
        for position, item in enumerate(source.read(items, start), start + 1):
            if item.id not in known:
                yield position, item
    except OSError as error:
        raise _unreadable(error, source.place) from None


def decode(photo: Photo, backbones: Sequence[Backbone]) -> Decoded:
    """Decode one image, and its mask if it has one, for all backbones. Runs in any thread."""
    try:
        image = photo.item.load()
        mask = photo.item.load_mask() if photo.item.load_mask else None
    except BadImage as bad:
        return Decoded(photo, {}, {}, bad.reason)
    except OSError as error:
        raise _unreadable(error, f"image {photo.item.id}") from None
    if mask is not None and mask.shape != (image.height, image.width):
        found = f"{mask.shape[1]} × {mask.shape[0]}"
        return Decoded(photo, {}, {}, f"its mask has {found} pixels, expected {image.width} × {image.height}")
    images, classes = {}, {}
    for backbone in backbones:
        transform = backbone.transform
        if backbone.image_size not in images:
            images[backbone.image_size] = transform(image)
        if mask is not None and backbone.grid not in classes:
            classes[backbone.grid] = class_map(mask, transform.box(*image.size), backbone.grid)
    return Decoded(photo, images, classes)


def _unreadable(error: OSError, what: str) -> InsightError:
    """It says nothing about an image if the machine or the network is in trouble."""
    return InsightError(
        f"{error.filename or what}: cannot be read ({error.strerror or error}); put it right and run the same command"
        " again: it goes on where it stopped"
    )
