"""From the notes of a run whose shards are all there to index, list of skipped images and, last, the manifest.

The notes are gone through shard by shard, never held together. Where images were appended the tables get names of
their own, so that the old manifest can be read until the new one takes its place; the tables of the manifest before
that are removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq

from sae.errors import InsightError

from ..format.index import cut, stream_index, stream_skipped, write_index, write_skipped
from ..format.manifest import INDEX, SKIPPED, Manifest, StoredShard
from .decoding import Target
from .ids import IdSet
from .journal import Journal, forget
from .request import Request


def finish(target: Target) -> None:
    """Make the folder a cache. `InsightError` when no image is good, or an id occurs twice."""
    journal, request = target.journal, target.request
    out, name = journal.out, request.source["name"]
    before = Manifest.read(out) if journal.base else None
    shards: list[StoredShard] = list(before.shards) if before else []

    def images() -> Iterator[dict[str, Any]]:
        if before:
            yield from cut(stream_index(out, before), [shard.rows for shard in before.shards])
        for note in journal.notes():
            if note.shard:
                shards.append(note.shard)
                seen = note.seen
                yield {"id": seen.ids, "source": [name] * len(seen.ids), "label": seen.labels, "split": seen.splits}

    def skipped() -> Iterator[dict[str, Any]]:
        if before:
            for lines in stream_skipped(out, before):
                yield dict(zip(lines.schema.names, lines.columns, strict=True))
        for note in journal.notes():
            bad = note.seen.skipped
            yield {"id": [b["id"] for b in bad], "source": [name] * len(bad), "reason": [b["reason"] for b in bad]}

    index = write_index(out, images(), _table(INDEX, journal))
    if not shards:
        (out / index.file).unlink()
        _none_good(journal, request)
    _require_different(out / index.file)
    kept = request.kept
    seed = {"seed": kept["seed"]} if "seed" in kept else {}
    manifest = Manifest(
        backbone=kept["backbone"],
        dtype=request.dtype,
        tokens_per_image=request.form.tokens,
        classes=request.classes,
        shards=tuple(shards),
        index=index,
        skipped=write_skipped(out, skipped(), _table(SKIPPED, journal)),
        sources=_sources(before, request.source | {"items": journal.items}),
        settings=before.settings if before else request.manner | seed,
    )
    _remove_old_tables(out, manifest, before)
    manifest.write(out)
    forget(journal.out)


def _table(name: str, journal: Journal) -> str:
    """What a table is called: by itself, or numbered by the first part that was appended."""
    stem, _, suffix = name.partition(".")
    return f"{stem}-{journal.first:05d}.{suffix}" if journal.base else name


def _sources(before: Manifest | None, entry: dict[str, str]) -> tuple[dict[str, str], ...]:
    """The sources with this one, which takes the place of what was noted of it before."""
    others = [source for source in before.sources if source["name"] != entry["name"]] if before else []
    return (*others, entry)


def _none_good(journal: Journal, request: Request) -> NoReturn:
    bad = [entry for note in journal.notes() for entry in note.seen.skipped]
    forget(journal.out)
    raise InsightError(
        f"{request.source['place']}: expected images, found {len(bad)} of which none can be decoded (first:"
        f" {bad[0]['id']}: {bad[0]['reason']})"
        if bad
        else f"{request.source['place']}: expected images, found none"
    )


def _require_different(index: Path) -> None:
    """`InsightError` that names an id which is there twice."""

    def ids() -> Iterator[list[str]]:
        with pq.ParquetFile(index) as file:
            for batch in file.iter_batches(columns=["id"]):
                yield batch["id"].to_pylist()

    doubled = IdSet(ids()).doubled()
    if len(doubled):
        id = next(id for piece in ids() for id in piece if id in doubled)
        raise InsightError(
            f"{index.parent}: the source gives image {id} twice, and an id can be only once in a cache; rename one and"
            " begin in another folder"
        )


def _remove_old_tables(out: Path, manifest: Manifest, before: Manifest | None) -> None:
    kept = {table.file for made in (manifest, before) if made for table in (made.index, made.skipped)}
    for path in (*out.glob("index*.parquet"), *out.glob("skipped*.parquet")):
        if path.name not in kept:
            path.unlink()
