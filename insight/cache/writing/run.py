"""The run of one process: it makes the shards that are missing of its parts.

Every step has threads of its own and works ahead of the next one, so that the encoder waits for nobody: one reads the
source, some decode, one gathers batches, one encodes, this one packs and logs, one writes shards. At most three batches
are between gathering and log (a GPU has the next one queued while the last one is packed), one shard between log and
disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import groupby

from tqdm import tqdm

from sae.distributed import Group

from ...data import ImageSource
from ..format.manifest import Manifest
from ..format.shard import sha256_of
from .ahead import ahead
from .decoding import Decoded, End, Photo, Stretch, Target, decode, photos_to_encode, read
from .encoding import Encoded, Gathered, forward, gather, pack
from .journal import Journal
from .making import Making
from .planning import known_ids


def make_shards(source: ImageSource, targets: list[Target], ranks: Group, workers: int, progress: bool) -> None:
    """Make the shards of this rank's parts that are not there yet; targets that have the same parts go together."""
    for _, group in groupby(sorted(targets, key=_work), _work):
        together = list(group)
        journal = together[0].journal
        known = known_ids(journal.out, Manifest.read(journal.out)) if journal.base else ()
        entries = photos_to_encode(source, together, ranks.rank, ranks.size, known)
        _encode(source, together, entries, workers, _Progress(journal, ranks, shown=progress))


def _work(target: Target) -> tuple[str, ...]:
    """Targets of which this agrees have the same parts, and images to be passed over."""
    before = Manifest.read(target.journal.out) if target.journal.base else None
    had = [table.sha256 for table in (before.index, before.skipped)] if before else []
    return (sha256_of(target.journal.parts_file), *had)


@dataclass(frozen=True)
class _Work:
    """One batch of a stretch, for the caches that have not got it; encoded: what their backbones made of it."""

    stretch: Stretch
    makings: list[Making]
    batch: Gathered
    encoded: Encoded | None = None


def _encode(
    source: ImageSource, targets: list[Target], entries: Iterator[Photo | End], workers: int, progress: _Progress
) -> None:
    """Read, decode, gather, encode and pack, each in threads of its own."""
    backbones = [target.request.backbone for target in targets]
    batch_size = targets[0].request.batch_size

    def prepare(entry: Photo | End) -> Decoded | End:
        return entry if isinstance(entry, End) else decode(entry, backbones)

    def encode(entry: _Work | End) -> _Work | End:
        return entry if isinstance(entry, End) else replace(entry, encoded=forward(entry.batch))

    with (
        closing(ahead(prepare, entries, workers, most=2 * batch_size + workers)) as decoded,
        closing(ahead(encode, _gathered(decoded, batch_size), 1, most=3)) as encoded,
        progress,
        _Writing() as writing,
    ):
        for entry in encoded:
            writing.stretch = entry.stretch
            if isinstance(entry, End):
                writing.finish(entry)
                if entry.last:
                    progress.end_part(entry.stretch.part)
            else:
                progress.add(*_add(source, entry))


def _gathered(decoded: Iterable[Decoded | End], batch_size: int) -> Iterator[_Work | End]:
    """The images in batches of so many good ones; none crosses the end of a stretch."""
    waiting: list[Decoded] = []
    for entry in decoded:
        if isinstance(entry, Decoded):
            waiting.append(entry)
        if waiting and (isinstance(entry, End) or sum(not photo.reason for photo in waiting) == batch_size):
            stretch, end = waiting[0].photo.stretch, waiting[-1].photo.next
            lacking = [(target, making) for target, making in stretch.makings if making.next < end]
            batch = gather(waiting, [target.request for target, _ in lacking])
            yield _Work(stretch, [making for _, making in lacking], batch)
            waiting = []
        if isinstance(entry, End):
            yield entry


def _add(source: ImageSource, work: _Work) -> tuple[int, int]:
    """Add an encoded batch to its shards → how many images it has, and how many of them are bad."""
    photos = work.batch.photos
    if any(photo.reason for photo in photos):
        next(read(source, work.stretch.items), None)  # an error if it is gone: then nothing is known of its images
    assert work.encoded is not None
    batches = pack(work.encoded)
    for making, batch in zip(work.makings, batches, strict=True):
        making.add(batch)
    return len(photos), max(len(batch.seen.skipped) for batch in batches)


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
