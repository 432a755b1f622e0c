"""One writer at a time on a folder, held by the operating system: a killed writer leaves no lock behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sae.errors import InsightError


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold `folder/.lock`; `InsightError` at once if another process holds it. The empty file itself stays."""
    import fcntl  # POSIX only: what reads caches must not need it

    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InsightError(
                f"{folder}: another process is writing this cache; wait until it ends, or write to another folder"
            ) from None
        yield
