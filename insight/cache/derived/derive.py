"""A new cache made of finished ones, shard by shard: what `merge`, `convert` and `sample` have in common.

The new shards are made in order and each is noted when it is there, in the folder `unfinished/`: `settings.json` (what
is being made, of which caches) and `shards.jsonl` (a line for each finished shard). A killed run goes on behind its
last note; a note that was lost costs making one shard again. Then come index, skipped images and, last, the manifest.
The caches that are read are never written to, locked or changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from sae.errors import InsightError
from sae.files import read_json, write_json

from ..format.index import write_index, write_skipped
from ..format.manifest import FILE, UNFINISHED, Manifest, StoredShard
from ..format.shard import sha256_of
from ..reading.reader import FeatureCache
from ..writing.lock import only_writer, prepare

_SETTINGS = "settings.json"
_NOTES = "shards.jsonl"


@dataclass(frozen=True)
class NewShard:
    """A shard to be made. images: the columns id, source, label and split of its images; make: writes it, whole or not
    at all, to the path that it is given → (bytes, SHA-256)."""

    images: dict[str, Any]
    make: Callable[[Path], tuple[int, str]]

    @property
    def rows(self) -> int:
        """How many images it will hold."""
        return len(self.images["id"])


def origin(caches: Sequence[FeatureCache], how: dict[str, Any], seed: int | None) -> dict[str, Any]:
    """The `settings` of a derived cache's manifest: how it was made and of which caches, and how these were.

    seed: by which `kept_positions` gives the patches of every image (what appended images must be thinned by), None
    where it does not.
    """
    steps: list[Any] = []
    made_of: list[dict[str, Any]] = []
    for cache in caches:
        settings = cache.manifest.settings
        earlier = settings.get("derived")
        steps += [step for step in earlier if step not in steps] if isinstance(earlier, list) else []
        known = {} if earlier else {"settings": settings}
        made_of.append({"manifest_sha256": sha256_of(cache.folder / FILE)} | known)
    return {"derived": [*steps, how | {"caches": made_of}]} | ({} if seed is None else {"seed": seed})


def seed_of(cache: FeatureCache) -> int | None:
    """The seed by which a cache's patches were kept, None where all were, or by no single seed."""
    return cache.manifest.settings.get("seed") if cache.manifest.form.has_positions else None


def derive(
    out: Path, like: Manifest, shards: Callable[[], Iterator[NewShard]], skipped: Iterable[pa.RecordBatch]
) -> FeatureCache:
    """Make a cache in the folder `out`, or go on where a killed run stopped; one that is finished is returned.

    like: the manifest but for its lists of files; shards: the same new shards, in the same order, whenever it is
    called; skipped: lines of the list of images that gave no features.
    `InsightError` when `out` holds anything else, another process writes there, or the disk refuses.
    """
    if _finished(out, like) and not (out / UNFINISHED).exists():
        return FeatureCache.open(out)
    try:
        prepare(out)
        with only_writer(out):
            if not _finished(out, like):
                made = _make_shards(out, like, shards())
                index = write_index(out, (new.images for new in shards()))
                of_skipped = write_skipped(out, (dict(zip(lines.schema.names, lines.columns)) for lines in skipped))
                replace(like, shards=made, index=index, skipped=of_skipped).write(out)
            _forget(out, like)
    except OSError as error:
        raise InsightError(
            f"{error.filename or out}: cannot be written ({error.strerror or error}); make room or allow it, then run"
            " the same command again: it goes on from the last finished shard"
        ) from None
    return FeatureCache.open(out)


def _finished(out: Path, like: Manifest) -> bool:
    if not (out / FILE).exists():
        return False
    _require_same(out, Manifest.read(out).settings, like.settings)
    return True


def _require_same(out: Path, found: Any, settings: dict[str, Any]) -> None:
    if found != settings:
        raise InsightError(
            f"{out}: expected nothing or what the same command left, found a cache that was made otherwise; write to"
            " another folder, or delete this one"
        )


def _make_shards(out: Path, like: Manifest, shards: Iterator[NewShard]) -> tuple[StoredShard, ...]:
    done = _recall(out, like.settings)
    made = []
    with (out / UNFINISHED / _NOTES).open("a") as notes, tqdm(unit="image", desc=out.name, disable=None) as bar:
        notes.write("\n")  # should the last note be cut short
        for number, new in enumerate(shards):
            name = f"shard-{number:05d}.safetensors"
            if name not in done:
                done[name] = StoredShard(name, *new.make(out / name), new.rows)
                notes.write(json.dumps(asdict(done[name])) + "\n")
                notes.flush()
            made.append(done[name])
            bar.update(new.rows)
    return tuple(made)


def _recall(out: Path, settings: dict[str, Any]) -> dict[str, StoredShard]:
    """The finished shards of the run that was begun in `out`, by name; begins one if there is none."""
    for part in out.rglob(".*.part"):  # what a killed run was in the middle of writing; the lock is held
        part.unlink()
    folder = out / UNFINISHED
    notes = folder / _NOTES
    if not folder.exists() or not any(folder.iterdir()):
        write_json(folder / _SETTINGS, settings)
    else:
        _require_same(out, _noted(out), settings)
    done = {}
    for line in notes.read_bytes().splitlines() if notes.exists() else []:
        try:
            shard = StoredShard(**json.loads(line))
            if (out / shard.file).stat().st_size == shard.bytes:
                done[shard.file] = shard
        except (ValueError, TypeError, OSError):  # a note cut short, or a shard that is gone: it is made again
            continue
    return done


def _forget(out: Path, like: Manifest) -> None:
    """The cache is whole: remove the notes, if they are of this run and not of images that are being appended."""
    if _noted(out) == like.settings:
        (out / UNFINISHED / _NOTES).unlink(missing_ok=True)  # first: what a kill then leaves is known as ours
        shutil.rmtree(out / UNFINISHED)


def _noted(out: Path) -> Any:
    """What the notes in `out` say is being made, None if there are none of ours."""
    file = out / UNFINISHED / _SETTINGS
    return read_json(file) if file.exists() else None
