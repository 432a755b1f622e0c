"""One run at a time on a folder, held by the operating system: a killed writer leaves no lock behind.

The writer, or rank 0 of several, holds `.lock`, rank r holds `.lock-r`. Whoever holds `.lock` may be sure that nobody
else writes: it has looked at the others' locks, and they take theirs only after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sae.errors import InsightError


@contextmanager
def only_writer(folder: Path, rank: int = 0) -> Iterator[None]:
    """Hold the lock of a rank; `InsightError` at once if another process holds it, or any lock of a higher rank.

    The empty file `.lock` stays, those of other ranks are removed by `forget_ranks`.
    """
    with _path(folder, rank).open("w") as file:
        _take(folder, file)
        for other in folder.glob(".lock-*") if rank == 0 else ():
            with other.open("w") as others:
                _take(folder, others)
        yield


def forget_ranks(folder: Path) -> None:
    """Remove the lock files of all ranks but 0, which calls this when the others are done."""
    for path in folder.glob(".lock-*"):
        path.unlink()


def _path(folder: Path, rank: int) -> Path:
    return folder / (f".lock-{rank}" if rank else ".lock")


def _take(folder: Path, file: IO[str]) -> None:
    import fcntl  # POSIX only: what reads caches must not need it

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InsightError(
            f"{folder}: another process is writing this cache; wait until it ends, or write to another folder"
        ) from None
