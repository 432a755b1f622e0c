"""Stretches of a file into memory, at many places at once.

Measured with stretches of 64 KiB on a busy machine whose disk gives 2.4 GB/s in sequence: 0.4 GB/s one after the other,
1.1 GB/s when all are announced first. Reading past the system's cache of files (O_DIRECT) gave 1.4 GB/s alone, and
nothing more once blocks were checked and tokens served; stretches of 4 MiB gave 1.4, reading whole files ahead nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sae.errors import InsightError


class OpenFile:
    """A file for reading. Several threads may share one."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    def announce(self, offset: int, size: int) -> None:
        """Have the disk begin with a stretch that will be asked for soon."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def fill(self, memory: np.ndarray, offset: int) -> None:
        """Fill uint8 [n] with the bytes from `offset` on; `InsightError` if the file has no more so many."""
        view = memory.data
        while len(view):
            count = os.preadv(self._descriptor, [view], offset)
            if not count:
                raise InsightError(
                    f"{self._path}: ends too early; it changed after the cache was opened; put it back or open it again"
                )
            view, offset = view[count:], offset + count


@contextmanager
def open_file(path: Path) -> Iterator[OpenFile]:
    """The file; `InsightError` if it cannot be opened, or read while it is open."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield OpenFile(path, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InsightError(f"{path}: cannot be read ({error.strerror}); put it back or make the cache again") from None
