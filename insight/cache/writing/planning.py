"""What is to be done in a folder: a new cache, the rest of an unfinished one, images to append, or nothing.

A finished cache has noted what its sources listed; a source that lists the same is not read again, one that lists
something else is gone through for images with new ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from sae.errors import InsightError

from ...data import ImageSource
from ..format.index import stream_index, stream_skipped
from ..format.manifest import FILE, Manifest
from ..format.shard import sha256_of
from .ids import IdSet
from .journal import ItemsDigest, Journal, forget
from .request import Request, check_settings


def plan(out: Path, source: ImageSource, request: Request, parts: Iterator[list[str]], append: bool) -> Journal | None:
    """Have the journal of a run in `out`, unless nothing is to be done there; the folder is locked.
    Returns it if it has all parts of the source.

    parts: all that the source lists, taken only when a new cache is begun. `InsightError` when what is there was made
    with other settings, or holds an image of another source that this one has too.
    """
    base = sha256_of(out / FILE) if (out / FILE).exists() else None
    journal = Journal.resume(out)
    if journal is None or journal.base != base:  # it was not begun, or is done but for its last step
        forget(out)
        journal = None
    if journal and (append or base is None):
        check_settings(out, journal.asked, request.settings)
    elif base is None:
        journal = Journal.begin(out, request.settings, parts)
    elif append:
        _begin_to_append(out, source, request, base)
    else:
        require_complete(out, source, request)
    return None if base else journal


def require_complete(out: Path, source: ImageSource, request: Request) -> None:
    """`InsightError` unless the finished cache in `out` was made so and has all images of the source.

    Images may have moved since and some may be gone; it is their ids that count.
    """
    made = Manifest.read(out)
    request.check_finished(out, made, append=False)
    if not _lists_the_same(made, source, request):
        known = known_ids(out, made)
        ids = (item.id for part in source.parts(request.shard_images) for item in source.read(part))
        new = (id for id in ids if id not in known)
        first = next(new, None)
        if first is not None:
            raise InsightError(
                f"{out}: is a finished cache, but {source.place} has {1 + sum(1 for _ in new)} images that are not in"
                f" it (first: {first}); add them with --append, write to another folder, or delete this one"
            )


def known_ids(out: Path, made: Manifest, source: str | None = None) -> IdSet:
    """The images of a finished cache, good and bad; with `source`, but for those of the source of that name."""
    lines = chain(stream_index(out, made), stream_skipped(out, made))
    return IdSet(
        [id for id, name in zip(batch["id"].to_pylist(), batch["source"].to_pylist(), strict=True) if name != source]
        for batch in lines
    )


def _begin_to_append(out: Path, source: ImageSource, request: Request, base: str) -> None:
    made = Manifest.read(out)
    request.check_finished(out, made, append=True)
    if _lists_the_same(made, source, request):
        return
    for entry in made.sources:
        if entry["name"] == source.name and entry["place"] != source.place and Path(entry["place"]).exists():
            raise InsightError(
                f"{out}: holds images of another source called {source.name} ({entry['place']}); rename"
                f" {source.place} so that they can be told apart"
            )
    listed = ItemsDigest()
    parts = _new_parts(out, made, source, request.shard_images, listed)
    first = next(parts, None)
    if first is not None:
        number = 1 + max(int(re.findall(r"\d+", shard.file)[0]) for shard in made.shards)
        Journal.begin(out, request.settings, chain([first], parts), first=number, listed=listed, base=base)


def _new_parts(out: Path, made: Manifest, source: ImageSource, size: int, listed: ItemsDigest) -> Iterator[list[str]]:
    """Parts with images that the cache has not got; where each item is one image, of just these and full again."""
    known, others = known_ids(out, made), known_ids(out, made, source.name)
    held: list[str] = []
    for part in source.parts(size):
        listed.add(part)
        ids = [item.id for item in source.read(part)]
        for id in ids:
            if id in others:
                raise InsightError(
                    f"{out}: has an image {id} already, of another source than {source.name}; an id can be only once in"
                    " a cache: rename one of them, or write to another folder"
                )
        new = [id not in known for id in ids]
        if len(ids) == len(part) > 1:
            held += [item for item, is_new in zip(part, new, strict=True) if is_new]
            while len(held) >= size:
                yield held[:size]
                held = held[size:]
        elif any(new):
            yield part
    if held:
        yield held


def _lists_the_same(made: Manifest, source: ImageSource, request: Request) -> bool:
    digests = [entry["items"] for entry in made.sources if entry["name"] == source.name and "items" in entry]
    listed = ItemsDigest()
    for part in source.parts(request.shard_images):
        listed.add(part)
    return listed.hex() in digests
