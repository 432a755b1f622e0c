"""A dataset of the package `datasets` as a source of images: one that is indexed, or one that is streamed.

Images are taken as the bytes that are stored and decoded by us. Of an indexed dataset 16 rows are in memory at a time;
of a streamed one what `datasets` itself reads ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sae.errors import InsightError

from .decode import BadImage, decode, decode_bytes, to_rgb
from .masks import decode_mask, mask_of, read_classes
from .ranges import ranges, read_range
from .source import Item

_ROWS = 16


class HuggingFaceSet:
    """The images in a column of a `datasets.Dataset` or `datasets.IterableDataset`.

    image: the column, by default the only one with images; label: its column, by default the only one with class
    labels, or else `label` or `labels`; mask: a column of segmentation masks, whose classes the file `classes` names;
    split: by default the dataset's own. Ids are the rows' numbers, in a streamed dataset `shard/row`, so a streamed
    dataset must come in a fixed order: do not shuffle it. `InsightError` when there are no such columns.
    """

    kind = "huggingface"

    def __init__(
        self,
        dataset: Any,
        *,
        image: str | None = None,
        label: str | None = None,
        mask: str | None = None,
        classes: Path | str | None = None,
        name: str | None = None,
        place: str | None = None,
        split: str | None = None,
    ) -> None:
        self.name = name or getattr(dataset.info, "dataset_name", None) or "dataset"
        self.place = place or self.name
        self.split = split or (None if dataset.split is None else str(dataset.split))
        if (mask is None) != (classes is None):
            raise InsightError(
                f"{self.place}: expected a column of masks and the file that names their classes together"
            )
        self.classes = () if classes is None else read_classes(classes)
        features = dataset.features or {}
        self._image = image or _only(features, "Image", self.place, "image")
        self._label = label or _label_column(features)
        self._mask = mask
        self._columns = [column for column in (self._image, self._label, self._mask) if column is not None]
        missing = [column for column in self._columns if features and column not in features]
        if missing:
            raise InsightError(f"{self.place}: expected a column {missing[0]}, found {', '.join(features)}")
        self._names = getattr(features.get(self._label), "names", None) or ()
        dataset = dataset.with_format(None)
        if features:
            dataset = dataset.select_columns(self._columns)
        for column, feature in features.items():
            if column in self._columns and type(feature).__name__ == "Image":
                dataset = dataset.cast_column(column, type(feature)(decode=False))
        self.dataset = dataset
        self._indexed = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")

    def parts(self, size: int) -> Iterator[list[str]]:
        """Ranges of `size` rows such as `1024:1280`; of a streamed dataset its shards, such as `shard:3`."""
        if self._indexed:
            return ranges(len(self.dataset), size, self.place)
        return iter([[f"shard:{shard}"] for shard in range(self.dataset.num_shards)])

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        """The images of a range or shard. `InsightError` when the dataset itself fails: its rows cannot be had."""
        try:
            for id, row in self._rows(part, start):
                yield self._item(id, row)
        except InsightError:
            raise
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0][:160]
            raise InsightError(
                f"{self.place}: rows of {part[0]} cannot be read ({type(error).__name__}: {reason}); when they can, run"
                " the same command again: it goes on from there"
            ) from None

    def _rows(self, part: Sequence[str], start: int) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._indexed:
            numbers = read_range(part, len(self.dataset), self.place)[start:]
            for first in range(0, len(numbers), _ROWS):
                some = numbers[first : first + _ROWS]
                columns = self.dataset[some.start : some.stop]
                for place, number in enumerate(some):
                    yield str(number), {column: columns[column][place] for column in self._columns}
        else:
            count = self.dataset.num_shards
            kind, _, shard = part[0].partition(":") if len(part) == 1 else ("", "", "")
            if kind != "shard" or not shard.isdecimal() or int(shard) >= count:
                raise InsightError(f"{self.place}: expected one of its {count} shards, found {list(part)}")
            rows = self.dataset.shard(num_shards=count, index=int(shard))
            for number, row in islice(enumerate(rows), start, None):
                yield f"{shard}/{number}", row

    def _item(self, id: str, row: dict[str, Any]) -> Item:
        place = f"{self.place}, row {id}"
        mask = None
        if self._mask is not None and row.get(self._mask) is not None:
            mask = partial(_mask, row[self._mask], place, len(self.classes))
        label = None if self._label is None else self._text(row.get(self._label))
        return Item(id, label, self.split, partial(_load, row.get(self._image), place), mask)

    def _text(self, label: Any) -> str | None:
        """A class's name, or what stands in the column; None for nothing, -1 (hidden labels) and what is no label."""
        if isinstance(label, str):
            return label or None
        if isinstance(label, bool) or not isinstance(label, (int, float)) or label != label:
            return None
        if not self._names:
            return str(label)
        return self._names[int(label)] if 0 <= label < len(self._names) else None


def _load(value: Any, place: str) -> Image.Image:
    return _with(value, place, decode_bytes, lambda path, _: decode(path), to_rgb)


def _mask(value: Any, place: str, n_classes: int) -> np.ndarray:
    def from_file(file: Path | bytes, place: str) -> np.ndarray:
        return decode_mask(file, place, n_classes)

    return _with(value, f"{place} (mask)", from_file, from_file, lambda image, place: mask_of(image, place, n_classes))


def _with(
    value: Any,
    place: str,
    of_bytes: Callable[[bytes, str], Any],
    of_path: Callable[[Path, str], Any],
    of_image: Callable[[Image.Image, str], Any],
) -> Any:
    """What a cell holds may be the bytes of a file, a path, both in a dict, or an image: go on with what it is."""
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, str) and "://" in value:
        value = _fetched(value, place)
    if isinstance(value, bytes):
        return of_bytes(value, place)
    if isinstance(value, str):
        return of_path(Path(value), place)
    if isinstance(value, Image.Image):
        return of_image(value, place)
    if value is None:
        raise BadImage(place, "no image in this row")
    raise InsightError(
        f"{place}: expected an image, its bytes or its path, found {type(value).__name__}; name another column"
    )


def _fetched(url: str, place: str) -> bytes:
    """The file behind a path such as `zip://a.jpg::https://...` of a streamed dataset."""
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise BadImage(place, f"no such file ({url})") from None
    except Exception as error:  # of every network there is
        reason = (str(error).splitlines() or [""])[0][:160]
        raise InsightError(f"{place}: {url} cannot be fetched ({reason}); run the same command again") from None


def _only(features: dict[str, Any], kind: str, place: str, what: str) -> str:
    found = [column for column, feature in features.items() if type(feature).__name__ == kind]
    if len(found) != 1:
        listed = ", ".join(found or features) or "none that are known"
        raise InsightError(
            f"{place}: expected one column of images, found {len(found)} ({listed}); say which, such as {what}=COLUMN"
        )
    return found[0]


def _label_column(features: dict[str, Any]) -> str | None:
    named = [column for column, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if len(named) == 1:
        return named[0]
    return next((column for column in ("label", "labels") if column in features), None)
