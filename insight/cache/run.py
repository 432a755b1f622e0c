"""The run of one process: it makes the shards that are missing of its parts.

Images come decoded from threads and are encoded batch by batch; a shard is written by a thread of its own while the
encoder goes on with the next, which waits if it is faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import groupby

from tqdm import tqdm

from sae.distributed import Group

from ..data import ImageSource
from .decoding import Decoded, End, Photo, Stretch, Target, ahead, decode, photos_to_encode
from .encoding import encode
from .ids import IdSet
from .journal import Journal
from .making import Making
from .manifest import Manifest
from .planning import known_ids
from .shard import sha256_of


def make_shards(source: ImageSource, targets: list[Target], ranks: Group, workers: int, progress: bool) -> None:
    """Make the shards of this rank's parts that are not there yet; targets that have the same parts go together."""
    for _, group in groupby(sorted(targets, key=_work), _work):
        together = list(group)
        journal = together[0].journal
        known = known_ids(journal.out, Manifest.read(journal.out)) if journal.base else IdSet()
        entries = photos_to_encode(source, together, ranks.rank, ranks.size, known)
        _encode(source, together, entries, workers, _Progress(journal, ranks, shown=progress))


def _work(target: Target) -> tuple[str, ...]:
    """Targets of which this agrees have the same parts, and images to be passed over."""
    before = Manifest.read(target.journal.out) if target.journal.base else None
    had = [table.sha256 for table in (before.index, before.skipped)] if before else []
    return (sha256_of(target.journal.parts_file), *had)


def _encode(
    source: ImageSource, targets: list[Target], entries: Iterator[Photo | End], workers: int, progress: _Progress
) -> None:
    backbones = [target.request.backbone for target in targets]
    batch_size = targets[0].request.batch_size

    def prepare(entry: Photo | End) -> Decoded | End:
        return entry if isinstance(entry, End) else decode(entry, backbones)

    decoded = ahead(prepare, entries, workers, most=2 * batch_size + workers)
    waiting: list[Decoded] = []
    with closing(decoded), progress, _Writing() as writing:
        for entry in decoded:
            writing.stretch = stretch = entry.stretch if isinstance(entry, End) else entry.photo.stretch
            if isinstance(entry, Decoded):
                waiting.append(entry)
            full = sum(not photo.reason for photo in waiting) == batch_size
            if waiting and (full or isinstance(entry, End)):
                bad = _add(source, stretch, waiting)
                progress.add(len(waiting), bad)
                waiting = []
            if isinstance(entry, End):
                writing.finish(entry)
                if entry.last:
                    progress.end_part(stretch.part)


def _add(source: ImageSource, stretch: Stretch, photos: list[Decoded]) -> int:
    """Encode one batch for all caches that have not got it → how many of its images are bad."""
    if any(photo.reason for photo in photos):
        next(source.read(stretch.items), None)  # an error if it is gone: then nothing is known of its images
    end = photos[-1].photo.next
    lacking = [(target, making) for target, making in stretch.makings if making.next < end]
    batches = encode(photos, [target.request for target, _ in lacking])
    for (_, making), batch in zip(lacking, batches, strict=True):
        making.add(batch)
    return max(len(batch.seen.skipped) for batch in batches)


class _Progress:
    """The bar of rank 0. How many photos there are is known when all is read; until then it is inferred from parts."""

    def __init__(self, journal: Journal, ranks: Group, *, shown: bool) -> None:
        self._last, self._world, self._parts, self._bad = journal.first + journal.n_parts - 1, ranks.size, 0, 0
        self._bar = tqdm(desc="encoding", unit="photo", disable=not shown or ranks.rank > 0)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, images: int, bad: int) -> None:
        """So many images were encoded, or found bad."""
        self._bad += bad
        self._bar.set_postfix_str(f"{self._bad} bad" if self._bad else "", refresh=False)
        self._bar.update(images)

    def end_part(self, part: int) -> None:
        """A part is done: those that are left are thought to have as many images."""
        self._parts += 1
        self._bar.total = round(self._bar.n * (1 + (self._last - part) // self._world / self._parts))


class _Writing:
    """Shards being written behind the encoder's back, one stretch at a time; keeps the one in the making on the way
    out, whatever the reason."""

    def __init__(self) -> None:
        self.stretch: Stretch | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write-shard")
        self._before: Future[None] | None = None

    def __enter__(self) -> _Writing:
        return self

    def finish(self, end: End) -> None:
        """Write the shards of a stretch that is complete; returns when those before it are there."""
        self._wait()
        self._before = self._thread.submit(_finish_all, end)
        self.stretch = None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if self.stretch is not None:
                _keep([making for _, making in self.stretch.makings])
            if kind is None:
                self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._before is not None:
            self._before.result()


def _finish_all(end: End) -> None:
    makings = [making for _, making in end.stretch.makings]
    try:
        for making in makings:
            making.finish(end.last)
    except OSError:
        _keep(makings)
        raise


def _keep(makings: list[Making]) -> None:
    """Log what can be logged; the reason for doing so says more than one for failing."""
    for making in makings:
        with suppress(OSError):
            making.keep()
