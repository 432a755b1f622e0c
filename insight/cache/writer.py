"""From a source of images and a backbone to a feature cache on disk, by one process or several, in one go or many.

Images are read and decoded in threads ahead of the encoder, encoded in batches and stored shard by shard, the shard
before the last being written while the encoder goes on. No batch crosses from one shard into the next and a shard holds
images of one part of the source, so what it holds depends on neither kills nor workers nor ranks: the bytes are those
of a run on its own that nobody disturbed.

Batches of the shard in the making are logged about once a second, so a kill costs the batch in flight and at most a
second of those before it; a shard that is done within the second is written only once. In memory are, of each cache,
the shard in the making and the one being written, and some images that wait for the encoder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import chain, groupby
from pathlib import Path

from tqdm import tqdm

from sae.distributed import Group
from sae.errors import InsightError

from ..backbones import Backbone
from ..data import ImageFolder, ImageSource
from .decoding import Decoded, End, Photo, Stretch, Target, ahead, decode, photos_to_encode
from .encoding import encode
from .finishing import finish
from .ids import IdSet
from .journal import FOLDER, Journal
from .lock import forget_ranks, only_writer
from .manifest import FILE, Manifest
from .planning import known_ids, plan, require_complete
from .ranks import everyone
from .reader import FeatureCache
from .request import Request
from .shard import sha256_of


def write_cache(
    source: Path | str | ImageSource,
    backbone: Backbone,
    out: Path | str,
    *,
    dtype: str = "float16",
    tokens: int | None = None,
    seed: int = 0,
    shard_images: int = 256,
    batch_size: int = 16,
    workers: int | None = None,
    append: bool = False,
    progress: bool = True,
) -> FeatureCache:
    """Encode every image of `source` and store patch and image vectors in the folder `out`.

    source: a folder of photos, the name of another source (`insight.data.open_source`) or a source itself; dtype:
    float32, bfloat16, float16 or int8, for the patches; tokens: how many patches of each image are kept (default: all),
    drawn at random by `seed` and the image's id; shard_images: images read for a shard; workers: threads that decode
    (default: one per core, at most 16); append: add the images of the source that a finished cache in `out` has not
    got, as new shards; nothing that it holds is changed, and it can be read as it was until the new ones are there.

    The same call goes on after a kill, and returns at once when the cache is finished. Processes started by torchrun
    share the work when all make the same call, and a run may go on with more or fewer of them. Images that give no
    features are listed with the reason. `InsightError` when there is no image, the settings differ from those of the
    cache in `out`, another process is writing there, the encoder fails or the disk refuses; what was done is kept.
    """
    return write_caches(
        source,
        {out: backbone},
        dtype=dtype,
        tokens=tokens,
        seed=seed,
        shard_images=shard_images,
        batch_size=batch_size,
        workers=workers,
        append=append,
        progress=progress,
    )[0]


def write_caches(
    source: Path | str | ImageSource,
    backbones: Mapping[Path | str, Backbone],
    *,
    dtype: str = "float16",
    tokens: int | None = None,
    seed: int = 0,
    shard_images: int = 256,
    batch_size: int = 16,
    workers: int | None = None,
    append: bool = False,
    progress: bool = True,
) -> list[FeatureCache]:
    """`write_cache` for several backbones or layers in one pass over the images: {folder: backbone}.

    Each image is decoded once and given to every backbone; layers of one trunk (`insight.backbones.load_together`) run
    it once. The caches have the bytes that separate calls would give them, and a killed run goes on in all of them.
    """
    images = _source(source)
    place = {"name": images.name, "kind": images.kind, "place": images.place}
    requests = {
        Path(out): Request(place, backbone, dtype, tokens, seed, images.classes, shard_images, batch_size)
        for out, backbone in backbones.items()
    }
    if len({out.resolve() for out in requests}) < len(backbones):
        raise InsightError(f"expected a folder for each backbone, found one twice: {[str(out) for out in requests]}")
    ranks = everyone(next(iter(requests.values())).device)
    try:
        with ExitStack() as locks:
            with ranks.together():
                if ranks.rank == 0:
                    _begin(images, requests, append, locks)
            journals = {out: Journal.resume(out) for out in requests if (out / FOLDER).is_dir()}
            targets = [Target(requests[out], journal) for out, journal in journals.items() if journal]
            with ranks.together():
                for target in targets if ranks.rank else ():
                    locks.enter_context(only_writer(target.journal.out, ranks.rank))
            _write(images, targets, ranks, workers or min(16, os.cpu_count() or 1), progress)
            ranks.largest([0])  # all have written their parts
            with ranks.together():
                if ranks.rank == 0:
                    for target in targets:
                        forget_ranks(target.journal.out)
                        finish(target)
    except OSError as error:
        raise InsightError(
            f"{error.filename or next(iter(requests))}: cannot be written ({error.strerror or error}); make room or"
            " allow it, then run the same command again: it goes on where it stopped"
        ) from None
    return [FeatureCache.open(out) for out in requests]


def _source(source: Path | str | ImageSource) -> ImageSource:
    if isinstance(source, Path) or (isinstance(source, str) and Path(source).is_dir()):
        return ImageFolder(source)
    if isinstance(source, str):
        from ..data import open_source

        return open_source(source)
    return source


def _begin(source: ImageSource, requests: Mapping[Path, Request], append: bool, locks: ExitStack) -> None:
    """Lock the folders and note what is to be done in each; a finished cache is left as it is."""
    begun: Journal | None = None
    for out, request in requests.items():
        if (out / FILE).exists() and not append:
            require_complete(out, source, request)
            continue
        parts = (items for _, items in begun.parts()) if begun else source.parts(request.shard_images)
        if not out.exists():
            first = next(parts, [])  # a source without images leaves no folder behind
            parts = chain([first], parts)
        _prepare(out)
        locks.enter_context(only_writer(out))
        for part in out.rglob(".*.part"):  # of a killed run; nobody is writing it now
            part.unlink()
        begun = plan(out, source, request, parts, append) or begun


def _prepare(out: Path) -> None:
    """Make `out`; it must be empty, ours, or not there, so that nobody's files end up among the shards."""
    out.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in out.iterdir() if not path.name.startswith(".lock")]
    if others and not ((out / FOLDER).is_dir() or (out / FILE).exists()):
        raise InsightError(
            f"{out}: expected an empty folder or an unfinished cache, found other files ({min(others)}); write to"
            " another folder"
        )


def _write(source: ImageSource, targets: list[Target], ranks: Group, workers: int, progress: bool) -> None:
    """Make the shards of this rank's parts; targets that have the same parts go together."""

    for _, group in groupby(sorted(targets, key=_work), _work):
        together = list(group)
        journal = together[0].journal
        known = known_ids(journal.out, Manifest.read(journal.out)) if journal.base else IdSet()
        entries = photos_to_encode(source, together, ranks.rank, ranks.size, known)
        _encode(source, together, entries, workers, progress and ranks.rank == 0)


def _work(target: Target) -> tuple[str, ...]:
    """Targets of which this agrees have the same parts, and images to be passed over."""
    before = Manifest.read(target.journal.out) if target.journal.base else None
    had = [table.sha256 for table in (before.index, before.skipped)] if before else []
    return (sha256_of(target.journal.parts_file), *had)


def _encode(
    source: ImageSource, targets: list[Target], entries: Iterator[Photo | End], workers: int, progress: bool
) -> None:
    backbones = [target.request.backbone for target in targets]
    batch_size = targets[0].request.batch_size

    def prepare(entry: Photo | End) -> Decoded | End:
        return entry if isinstance(entry, End) else decode(entry, backbones)

    decoded = ahead(prepare, entries, workers, most=2 * batch_size + workers)
    bar = tqdm(desc="encoding", unit="photo", disable=not progress)
    waiting: list[Decoded] = []
    bad = 0
    with closing(decoded), bar, _Writing() as writing:
        for entry in decoded:
            writing.stretch = stretch = entry.stretch if isinstance(entry, End) else entry.photo.stretch
            if isinstance(entry, Decoded):
                waiting.append(entry)
                bar.update()
            full = sum(not photo.reason for photo in waiting) == batch_size
            if waiting and (full or isinstance(entry, End)):
                bad += _add(source, stretch, waiting)
                bar.set_postfix_str(f"{bad} bad" if bad else "")
                waiting = []
            if isinstance(entry, End):
                writing.finish(entry)


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
        self._before = self._thread.submit(partial(_finish_all, end))
        self.stretch = None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if self.stretch is not None:
                with suppress(OSError):  # the reason for leaving says more
                    for _, making in self.stretch.makings:
                        making.keep()
            if kind is None:
                self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._before is not None:
            self._before.result()


def _finish_all(end: End) -> None:
    for _, making in end.stretch.makings:
        making.finish(end.last)
