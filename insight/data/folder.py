"""A folder of photos as a source of images: which there are, in a fixed order, what each is called and labelled.

An image's id is its path relative to the folder with `/` between the parts; ids sort in the order of their characters,
so the same files give the same order on every machine. The sorted list of ids is held, and the lists of splits; masks
and pixels are not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from sae.errors import InsightError

from .decode import BadImage, decode
from .masks import decode_mask, read_classes
from .place import FILE, FOLDER, found_at
from .source import Item

# Formats that `decode` does not read (HEIC, AVIF) are listed too: a photo must be counted as bad, not pass unseen.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm"}
    | {".heic", ".heif", ".avif"}
)


class ImageFolder:
    """Photos in a folder and its subfolders; links to folders are followed, each folder is entered once.

    masks: a folder with the mask of image `a/b.jpg` in `a/b.png`; an image need not have one. A pixel of a mask is the
    number of a class, a line of the file `classes` counted from 0, and 255 is void. splits: for each split a file that
    lists its images, an id without suffix a line. `InsightError` when one of these files is not as said.
    """

    kind = "folder"

    def __init__(
        self,
        path: Path | str,
        *,
        masks: Path | str | None = None,
        classes: Path | str | None = None,
        splits: Mapping[str, Path | str] | None = None,
    ) -> None:
        if (masks is None) != (classes is None):
            found = "masks without classes" if classes is None else "classes without masks"
            raise InsightError(f"{path}: expected masks and the file that names their classes together, found {found}")
        self.path = Path(path)
        self.masks = None if masks is None else Path(masks)
        if self.masks is not None and (found := found_at(self.masks)) != FOLDER:
            raise InsightError(f"{self.masks}: expected a folder of masks, found {found}; check the path")
        self.classes = () if classes is None else read_classes(classes)
        self._split = _read_splits(splits or {})

    @property
    def name(self) -> str:
        """What an index calls this source: the folder's own name."""
        return self.path.resolve().name or "root"

    @property
    def place(self) -> str:
        """The folder's full path."""
        return str(self.path.resolve())

    def parts(self, size: int) -> Iterator[list[str]]:
        """Slices of the sorted ids, `size` long; `InsightError` as of `ids`, or when a split lists none of them."""
        ids = self.ids()
        missing = set(self._split.values()) - {self.split(id) for id in ids}
        if missing:
            raise InsightError(
                f"{self.path}: split {min(missing)} lists none of the images; expected lines such as"
                f" {_stem(ids[0])}, the path in the folder without suffix"
            )
        for start in range(0, len(ids), size):
            yield ids[start : start + size]

    def read(self, part: Sequence[str], start: int = 0) -> Iterator[Item]:
        """The images with these ids; `InsightError` when the folder is gone."""
        if (found := found_at(self.path)) != FOLDER:  # else all its images would be counted as bad
            raise InsightError(
                f"{self.path}: the folder is gone, found {found}; put it back and run the same command again"
            )
        for id in part[start:]:
            if id.startswith("/") or ".." in id.split("/"):  # parts may come out of a file that others wrote
                raise InsightError(f"{self.path}: expected the id of an image in this folder, found {id}")
            yield Item(id, self.label(id), self.split(id), partial(self.load, id), self._mask(id))

    def ids(self) -> list[str]:
        """Ids of all files with an image's suffix, sorted; hidden files and folders are left out.

        `InsightError` when there is no such folder, a part of it cannot be listed, or no file in it is called an image.
        """
        self.require_images()
        return sorted(self._walk())

    def require_images(self) -> None:
        """`InsightError` when there is no such folder, or no file in it is called an image; the first one will do."""
        if (found := found_at(self.path)) != FOLDER:
            raise InsightError(f"{self.path}: expected a folder of images, found {found}; check the path")
        if next(self._walk(), None) is None:
            raise InsightError(
                f"{self.path}: expected images, found no file with a suffix such as .jpg or .png in it or below it"
            )

    def label(self, id: str) -> str | None:
        """The label of an image: the first subfolder on the way to it, None when it lies in the folder itself."""
        first, slash, _ = id.partition("/")
        return first if slash else None

    def split(self, id: str) -> str | None:
        """The split whose list has the image, None without one."""
        return self._split.get(_stem(id))

    def load(self, id: str) -> Image.Image:
        """The image as RGB, or `BadImage`."""
        return decode(self.path / PurePosixPath(id))

    def _mask(self, id: str) -> Callable[[], np.ndarray] | None:
        if self.masks is None:
            return None
        path = self.masks / f"{_stem(id)}.png"
        return partial(decode_mask, path, str(path), len(self.classes)) if found_at(path) == FILE else None

    def _walk(self) -> Iterator[str]:
        entered = set()  # (device, inode): a link that leads upwards must not go round for ever
        for folder, folders, files in os.walk(self.path, onerror=_unlistable, followlinks=True):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in entered:
                folders.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = Path(folder).relative_to(self.path)
            for name in files:
                if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                    yield _text((inside / name).as_posix())


def _unlistable(error: OSError) -> None:
    raise InsightError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions")


def _stem(id: str) -> str:
    return str(PurePosixPath(id).with_suffix(""))


def _read_splits(lists: Mapping[str, Path | str]) -> dict[str, str]:
    """From ids without suffix to the split that lists them."""
    splits: dict[str, str] = {}
    for split, path in lists.items():
        try:
            stems = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise InsightError(f"{path}: expected a list of images, cannot be read ({reason})") from None
        for stem in filter(None, map(str.strip, stems)):
            if splits.setdefault(stem, split) != split:
                raise InsightError(f"{path}: {stem} is in split {splits[stem]} as well; an image has one split")
    return splits


def _text(name: str) -> str:
    """A file name as text that every format can hold; bytes that are not UTF-8 become \\xNN escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def find_photo(folder: Path, image: str) -> Image.Image | None:
    """The photo of an image by its id in a folder; None where none is there, or none that can be read.

    Ids come from files that others may have written: one that leads out of the folder finds nothing.
    """
    inside = PurePosixPath(image)
    if inside.is_absolute() or ".." in inside.parts or not (folder / inside).is_file():
        return None
    try:
        return decode(folder / inside)
    except BadImage:
        return None
