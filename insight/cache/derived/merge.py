"""One cache of several: shards are linked where the file system can, else copied, and numbered anew."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from sae.errors import InsightError
from sae.files import atomic_write

from ..format.index import cut, stream_index, stream_skipped
from ..format.manifest import StoredShard
from ..reading.reader import FeatureCache
from ..writing.ids import IdSet
from .derive import NewShard, derive, origin, seed_of

_COPIED_AT_ONCE = 1 << 22


def merge_caches(caches: Sequence[Path | str], out: Path | str) -> FeatureCache:
    """Put the images of all caches, in their order, into a new cache in the folder `out`.

    They must have the same backbone (by fingerprint), dtype, patches an image and classes, and no image's id may occur
    twice: `InsightError` names what differs, or the id, and both caches. The same call goes on after a kill. Shards
    are hard links to those of the inputs where that is possible: such a merge takes no room, and deleting an input
    later does it no harm.
    """
    opened = [FeatureCache.open(folder) for folder in caches]
    if not opened:
        raise InsightError("expected caches to merge, found none; name at least one folder")
    for cache in opened[1:]:
        _require_alike(opened[0], cache)
    _require_different_ids(opened)
    manifests = [cache.manifest for cache in opened]
    sources = {tuple(sorted(source.items())): source for manifest in manifests for source in manifest.sources}
    seeds = {seed_of(cache) for cache in opened}
    settings = origin(opened, {"command": "merge"}, seeds.pop() if len(seeds) == 1 else None)
    like = replace(manifests[0], sources=tuple(sources.values()), settings=settings)

    def shards() -> Iterator[NewShard]:
        for cache in opened:
            sizes = [stored.rows for stored in cache.manifest.shards]
            lines = cut(stream_index(cache.folder, cache.manifest), sizes)
            for stored, images in zip(cache.manifest.shards, lines, strict=True):
                yield NewShard(images, partial(_link_or_copy, cache.folder / stored.file, stored))

    return derive(Path(out), like, shards, chain(*(stream_skipped(cache.folder, cache.manifest) for cache in opened)))


def _require_alike(first: FeatureCache, other: FeatureCache) -> None:
    for what in ("fingerprint", "dim", "grid", "tokens_per_image", "classes"):
        _compare(what, getattr(first, what), getattr(other, what), first, other)
    _compare("dtype", first.manifest.dtype, other.manifest.dtype, first, other)


def _compare(what: str, one: object, two: object, first: FeatureCache, other: FeatureCache) -> None:
    if one != two:
        raise InsightError(
            f"{other.folder}: {what}: expected {one} as in {first.folder}, found {two}; only caches of the same kind"
            " can be merged"
        )


def _require_different_ids(caches: Sequence[FeatureCache]) -> None:
    doubled = IdSet(ids for cache in caches for ids in _ids(cache)).doubled()
    seen: dict[str, FeatureCache] = {}
    for cache in caches if len(doubled) else []:
        for id in (id for ids in _ids(cache) for id in ids if id in doubled):
            if id in seen:
                raise InsightError(
                    f"{cache.folder}: expected other images than in {seen[id].folder}, found {id!r} in both; an id can"
                    " only be once in a cache"
                )
            seen[id] = cache


def _ids(cache: FeatureCache) -> Iterator[list[str]]:
    for lines in stream_index(cache.folder, cache.manifest):
        yield lines["id"].to_pylist()


def _link_or_copy(source: Path, stored: StoredShard, target: Path) -> tuple[int, str]:
    target.unlink(missing_ok=True)  # of a run that was killed before it could note it
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, a file system without links, a file of somebody else's
        _copy(source, stored, target)
    return stored.bytes, stored.sha256


def _copy(source: Path, stored: StoredShard, target: Path) -> None:
    digest = hashlib.sha256()
    with atomic_write(target) as temporary, temporary.open("wb") as file:
        for piece in _pieces(source):
            digest.update(piece)
            file.write(piece)
        if digest.hexdigest() != stored.sha256:
            raise InsightError(
                f"{source}: damaged: expected SHA-256 {stored.sha256[:12]}, found {digest.hexdigest()[:12]}; restore it"
                " or make that cache again"
            )


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_COPIED_AT_ONCE):
                yield piece
    except OSError as error:
        raise InsightError(f"{path}: cannot be read ({error.strerror}); put it back and run this again") from None
