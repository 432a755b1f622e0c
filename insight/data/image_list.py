"""A file that lists images as a source: paths with, if it says so, their ids, labels, splits and masks.

Paths are relative to the list's folder. The list is read from disk as it is needed: held are the records of one part,
and while the parts are made 8 bytes an image, to see that no id comes twice.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from zlib import crc32

import numpy as np

from sae.errors import InsightError

from .decode import decode
from .list_records import SUFFIXES, Record, records
from .masks import decode_mask, read_classes
from .place import FILE, found_at
from .source import Item

_MANY = 1 << 62  # what no position or count in a file can be


class ImageList:
    """Images that a .txt, .csv, .tsv, .jsonl or .parquet lists (see `list_records`).

    classes: a file that names the classes of the masks in column `mask`; without it masks are not read.
    """

    kind = "list"

    def __init__(self, path: Path | str, *, classes: Path | str | None = None) -> None:
        self.path = Path(path)
        found = found_at(path)
        if self.path.suffix.lower() not in SUFFIXES or found != FILE:
            found = "a file of another kind" if found == FILE else found
            raise InsightError(f"{self.path}: expected a list of images ({', '.join(SUFFIXES)}), found {found}")
        self.classes = () if classes is None else read_classes(classes)

    @property
    def name(self) -> str:
        """What an index calls this source: the list's name without suffix."""
        return self.path.stem

    @property
    def place(self) -> str:
        """The list's full path."""
        return str(self.path.resolve())

    def parts(self, size: int) -> Iterator[list[str]]:
        """Stretches of `size` records; each is one word that says where it starts and what it must hold.

        The whole list is read: `InsightError` for a record that is none, an id that comes twice, or an empty list.
        """
        digests = array("Q")
        position, stretch = 0, []
        for record, after in records(self.path):
            digests.append(_digest(record.id))
            stretch.append(record)
            if len(stretch) == size:
                yield [_word(position, stretch)]
                position, stretch = after, []
        if stretch:
            yield [_word(position, stretch)]
        if not digests:
            raise InsightError(f"{self.path}: expected images, found an empty list")
        self._check_unique(np.frombuffer(digests, np.uint64))

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        """The images of a stretch; `InsightError` when the list is not the one that the stretch was cut from."""
        try:
            position, count = (int(number) for number in part[0].partition("#")[0].split("+"))
            if len(part) != 1 or not (0 <= position < _MANY and 0 < count < _MANY):
                raise ValueError
        except (ValueError, IndexError):
            raise InsightError(f"{self.path}: expected the name of a stretch of the list, found {list(part)}") from None
        stretch = [record for record, _ in islice(records(self.path, position), count)]
        if _word(position, stretch) != part[0]:
            raise InsightError(
                f"{self.path}: the list was changed after this run began; put the old one back, or begin anew"
            )
        for record in stretch[start:]:
            yield self._item(record)

    def _item(self, record: Record) -> Item:
        mask = None
        if record.mask is not None and self.classes:
            path = self.path.parent / record.mask
            mask = partial(decode_mask, path, str(path), len(self.classes))
        return Item(record.id, record.label, record.split, partial(decode, self.path.parent / record.path), mask)

    def _check_unique(self, digests: np.ndarray) -> None:
        ordered = np.sort(digests)
        twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if twice:
            first = next(record.id for record, _ in records(self.path) if _digest(record.id) in twice)
            raise InsightError(
                f"{self.path}: expected every id once, found {first} twice; give the images different ids in a column"
                " `id`, or list each once"
            )


def _digest(id: str) -> int:
    return int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _word(position: int, stretch: Iterable[Record]) -> str:
    """`POSITION+COUNT#CHECKSUM`."""
    checksum, count = 0, 0
    for record in stretch:
        checksum = crc32(repr(tuple(record)).encode("utf-8", "backslashreplace"), checksum)
        count += 1
    return f"{position}+{count}#{checksum:08x}"
