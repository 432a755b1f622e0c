"""A folder of photos as a source of images: which there are, in a fixed order, what each is called and labelled.

An image's id is its path relative to the folder with `/` between the parts; ids sort in the order of their characters,
so the same files give the same order on every machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from sae.errors import InsightError

from .decode import decode

# Formats that `decode` does not read (HEIC, AVIF) are listed too: a photo must be counted as bad, not pass unseen.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm"}
    | {".heic", ".heif", ".avif"}
)


@dataclass(frozen=True)
class ImageFolder:
    """Photos in a folder and its subfolders; links to folders are followed, each folder is entered once."""

    path: Path

    @property
    def name(self) -> str:
        """What an index calls this source: the folder's own name."""
        return self.path.resolve().name or "root"

    def ids(self) -> list[str]:
        """Ids of all files with an image's suffix, sorted; hidden files and folders are left out.

        `InsightError` when there is no such folder, a part of it cannot be listed, or no file in it is called an image.
        """
        if not self.path.is_dir():
            found = "a file" if self.path.exists() else "nothing"
            raise InsightError(f"{self.path}: expected a folder of images, found {found}; check the path")
        ids = sorted(self._walk())
        if not ids:
            raise InsightError(
                f"{self.path}: expected images, found no file with a suffix such as .jpg or .png in it or below it"
            )
        return ids

    def label(self, id: str) -> str | None:
        """The label of an image: the first subfolder on the way to it, None when it lies in the folder itself."""
        first, slash, _ = id.partition("/")
        return first if slash else None

    def load(self, id: str) -> Image.Image:
        """The image as RGB, or `BadImage`."""
        return decode(self.path / PurePosixPath(id))

    def _walk(self) -> list[str]:
        found = []
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
                    found.append(_text((inside / name).as_posix()))
        return found


def _unlistable(error: OSError) -> None:
    raise InsightError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions")


def _text(name: str) -> str:
    """A file name as text that every format can hold; bytes that are not UTF-8 become \\xNN escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
