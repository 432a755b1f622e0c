"""Pictures cut out of photographs, kept in memory and on disk, both bounded: what was not asked for longest goes first.

In: a key, and how to make the picture. Out: the bytes of a JPEG file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from sae.files import atomic_write

from .lru import Lru

IN_MEMORY = 32 << 20
ON_DISK = 256 << 20
SWEEP = 200
"""Pictures that are written before the folder is measured again."""


class Thumbnails:
    """`folder`: where they lie, of at most `on_disk` bytes (but for the last `SWEEP`); None: in memory alone."""

    def __init__(self, folder: Path | None, *, in_memory: int = IN_MEMORY, on_disk: int = ON_DISK) -> None:
        self.folder = folder
        self._held: Lru[str, bytes] = Lru(100_000, bound=in_memory, size=len)
        self._on_disk = on_disk
        self._written = 0
        self._sweeping = Lock()
        self._locks = [Lock() for _ in range(256)]

    def get(self, key: tuple[object, ...], make: Callable[[], bytes]) -> tuple[bytes, str]:
        """The picture of a key, made if it is not there, and its name: a hash of the key."""
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
        if (held := self._held.get(name)) is not None:
            return held, name
        with self._locks[int(name[:2], 16)]:  # of several who ask at once, one makes it
            data = self._held.get(name) or self._read(name)
            if data is None:
                data = make()
                self._write(name, data)
            self._held.put(name, data)
        return data, name

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / name[:2] / f"{name}.jpg"

    def _read(self, name: str) -> bytes | None:
        if self.folder is None:
            return None
        path = self._path(name)
        try:
            data = path.read_bytes()
            path.touch()
        except OSError:
            return None
        return data or None

    def _write(self, name: str, data: bytes) -> None:
        """A full or read-only disk costs the picture's place there, not the answer."""
        if self.folder is None:
            return
        try:
            with atomic_write(self._path(name)) as temporary:
                temporary.write_bytes(data)
        except OSError:
            return
        self._written += 1
        if self._written % SWEEP == 1 and self._sweeping.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                self._sweeping.release()

    def _sweep(self) -> None:
        assert self.folder is not None
        found = []
        for path in self.folder.glob("*/*.jpg"):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._on_disk:
                break
            path.unlink(missing_ok=True)
            total -= size
