"""From a source of images and a backbone to a feature cache on disk, by one process or several, in one go or many.

Images are read and decoded in threads ahead of the encoder, encoded in batches and stored shard by shard, the shard
before the last being written while the encoder goes on. No batch crosses from one shard into the next and a shard holds
images of one part of the source, so what it holds depends on neither kills nor workers nor ranks: the bytes are those
of a run on its own that nobody disturbed.

Batches of the shard in the making are logged about once a second. A kill costs the batches in flight, three at most,
and at most a second of those before them; nothing else is encoded again. A shard that is done within the second is
written only once, any other at most twice. In memory are, of each cache, the shard in the making, the one being written
and three batches, and some images that wait for the encoder (`2 * batch_size` and one a worker).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from sae.errors import InsightError

from ...backbones import Backbone
from ...data import ImageSource, open_source
from ..format.manifest import FILE, UNFINISHED
from ..reading.reader import FeatureCache
from .decoding import Target
from .finishing import finish
from .journal import Journal
from .lock import forget_ranks, only_writer, prepare
from .planning import plan, require_complete
from .ranks import everyone
from .request import Request
from .run import make_shards


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

    source: a folder of photos, what else `insight.data.open_source` knows by its name, or a source itself; dtype:
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
    images = open_source(str(source)) if isinstance(source, Path | str) else source
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
            journals = [(request, Journal.resume(out)) for out, request in requests.items()]
            targets = [
                Target(request, journal) for request, journal in journals if journal and _goes_on(journal, append)
            ]
            with ranks.together():
                for target in targets if ranks.rank else ():
                    locks.enter_context(only_writer(target.journal.out, ranks.rank))
            make_shards(images, targets, ranks, workers or min(16, os.cpu_count() or 1), progress)
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


def _begin(source: ImageSource, requests: Mapping[Path, Request], append: bool, locks: ExitStack) -> None:
    """Lock the folders and note what is to be done in each; a finished cache is left as it is."""
    begun: Journal | None = None
    for out, request in requests.items():
        if (out / FILE).exists() and not append and not (out / UNFINISHED).exists():
            require_complete(out, source, request)
            continue
        parts = (items for _, items in begun.parts()) if begun else source.parts(request.shard_images)
        if not out.exists():
            first = next(parts, [])  # a source without images leaves no folder behind
            parts = chain([first], parts)
        prepare(out)
        locks.enter_context(only_writer(out))
        for part in out.rglob(".*.part"):  # of a killed run; nobody is writing it now
            part.unlink()
        begun = plan(out, source, request, parts, append) or begun


def _goes_on(journal: Journal, append: bool) -> bool:
    """Not if it is of images that somebody else began to append to a finished cache."""
    return append or journal.base is None
