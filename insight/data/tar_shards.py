"""WebDataset tar shards as a source of images: local files, or what the package `webdataset` opens for us.

A part is one tar. An image's id is `<name of the tar>/<name of the file in it without suffix>`. Held in memory are the
names of the tars, of the tar being read about 100 bytes an image (its id must be unique) and the files of one sample;
an item that was given holds the bytes of its own image and mask.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from sae.errors import InsightError

from .braces import expand_braces
from .decode import decode_bytes
from .masks import decode_mask, read_classes
from .place import FILE, found_at
from .source import Item, bad_item
from .tar_format import DamagedTar, TarReader
from .tar_samples import TarImage, tar_images

_URL = re.compile(r"pipe:|[a-z][a-z0-9+.-]*://")


def is_url(pattern: str) -> bool:
    """Whether the package `webdataset` must open it: `pipe:COMMAND`, `http://...` and the like."""
    return _URL.match(pattern) is not None


class TarShards:
    """The images of tars that a pattern such as `data/{00000..00099}.tar` stands for.

    classes: a file that names the classes of the masks; without it masks are not read. `InsightError` when a tar is
    named twice or the file cannot be read.
    """

    kind = "webdataset"

    def __init__(self, pattern: Path | str, *, classes: Path | str | None = None) -> None:
        self.pattern = str(pattern)
        self.classes = () if classes is None else read_classes(classes)
        places = expand_braces(self.pattern)
        if len(set(places)) < len(places):
            raise InsightError(f"{self.pattern}: expected each tar once, found one twice; check the pattern")
        self._tars = dict(zip(_names(places), places))

    @property
    def name(self) -> str:
        """What an index calls this source: the last word of the pattern, without suffix."""
        last = re.split(r"[/\s]", self.pattern.partition("?")[0].rstrip("/ "))[-1]
        return last.removesuffix(".tar") or "tar"

    @property
    def place(self) -> str:
        """The pattern, with the full path of local files."""
        return self.pattern if is_url(self.pattern) else str(Path(self.pattern).absolute())

    def parts(self, size: int) -> Iterator[list[str]]:
        """The name of each tar, however many images it has; `InsightError` when a local one is missing."""
        del size
        missing = [place for place in self._tars.values() if not is_url(place) and found_at(place) != FILE]
        if missing:
            raise InsightError(
                f"{self.pattern}: expected {len(self._tars)} tars, {len(missing)} are missing (first: {missing[0]});"
                " check the pattern"
            )
        for name in self._tars:
            yield [name]

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        """The images of one tar.

        A tar that is damaged gives the images before the damage, then one item that is bad and names the tar. What
        cannot be opened or read now (gone, no permission, a command that fails) is an `InsightError`: nothing says
        that the tar itself is bad.
        """
        if len(part) != 1 or part[0] not in self._tars:
            raise InsightError(f"{self.pattern}: expected the name of one of its tars, found {list(part)}")
        tar, place = part[0], self._tars[part[0]]
        seen: set[bytes] = set()
        number, damage = 0, None
        with _opened(place) as (file, size):
            try:
                for number, image in enumerate(tar_images(TarReader(file, size), start, bool(self.classes)), 1):
                    item = self._item(image, _unique(f"{tar}/{image.name}", seen, number), f"{place}: {image.name}")
                    if number > start:
                        yield item
            except DamagedTar as error:
                damage = error
        if damage is not None and number >= start:  # only now: a command that failed is no damage, and was an error
            yield bad_item(f"{tar}.tar", place, f"{damage}")

    def _item(self, image: TarImage, unique: tuple[str, bool], place: str) -> Item:
        id, first = unique
        if not first:
            return bad_item(id, place, "a second image of that name in the tar")
        if isinstance(image.data, str):
            return bad_item(id, place, image.data)
        mask = None
        if image.mask is not None and self.classes:
            mask = partial(decode_mask, image.mask, f"{place} (mask)", len(self.classes))
        return Item(id, image.label, None, partial(decode_bytes, image.data, place), mask)


def _names(places: list[str]) -> list[str]:
    """A name for each tar, no two the same: its own where that will do, else its path, else its number."""
    found = [re.findall(r"([^/\\\s=]+)\.tar\b", place.partition("?")[0] or place) for place in places]
    names = [words[-1] if words else "" for words in found]
    if all(names) and len(set(names)) == len(names):
        return names
    if any(map(is_url, places)):
        return [f"{number:05d}" for number in range(len(places))]
    root = os.path.commonpath([Path(place).absolute().parent for place in places])
    return [Path(place).absolute().relative_to(root).as_posix().removesuffix(".tar") for place in places]


def _unique(id: str, seen: set[bytes], number: int) -> tuple[str, bool]:
    """The id, and whether it is the first of that name; one that is not gets its number."""
    first = True
    while (digest := blake2b(id.encode(), digest_size=8).digest()) in seen:
        id, first = f"{id}#{number}", False
    seen.add(digest)
    return id, first


@contextmanager
def _opened(place: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The bytes of a tar and how many they are; whatever the machine or a command refuses becomes an `InsightError`."""
    try:
        if not is_url(place):
            if (found := found_at(place)) != FILE:  # a pipe would be waited for
                raise InsightError(
                    f"{place}: expected a tar, found {found}; put it back and run the same command again"
                )
            with Path(place).open("rb") as file:
                yield file, os.fstat(file.fileno()).st_size
            return
        stream = _open_url(place)
        ended = False
        try:
            yield stream, None
            ended = not stream.read(1)
        finally:
            with nullcontext() if ended else suppress(OSError):  # a command that we cut off cannot but fail
                stream.close()
    except OSError as error:
        status = re.search(r"exit -?\d+", str(error))  # of a command
        reason = error.strerror or (status[0] if status else str(error)[:160])
        raise InsightError(
            f"{place}: cannot be read ({reason}); when it can, run the same command again: it goes on from there"
        ) from None


def _open_url(place: str) -> BinaryIO:
    try:
        from webdataset.gopen import gopen
    except ImportError:
        raise InsightError(f"{place}: needs the package webdataset; pip install webdataset") from None
    try:
        return gopen(place, "rb")
    except (ValueError, ImportError) as error:
        raise InsightError(f"{place}: cannot be opened ({error}); expected pipe:, http:// or https://") from None
