"""A folder to write a cache in: nobody else's files in it, and one run at a time.

The lock is held by the operating system: a killed writer leaves none behind. The writer, or rank 0 of several, holds
`.lock`, rank r holds `.lock-r`. Whoever holds `.lock` may be sure that nobody else writes: it has looked at the others'
locks, and they take theirs only after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sae.errors import InsightError

from ..format.manifest import FILE, UNFINISHED


def prepare(out: Path) -> None:
    """Make `out`; it must be empty, ours, or not there, so that nobody's files end up among the shards."""
    out.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in out.iterdir() if not path.name.startswith(".lock")]
    if others and not ((out / UNFINISHED).is_dir() or (out / FILE).exists()):
        raise InsightError(
            f"{out}: expected an empty folder or an unfinished cache, found other files ({min(others)}); write to"
            " another folder"
        )


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
