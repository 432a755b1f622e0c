"""From a folder of photos and a backbone to a feature cache on disk.

Photos are decoded in threads ahead of the encoder, encoded in batches and stored shard by shard. The list of files is
cut into stretches of `shard_images`; a stretch becomes one shard and no batch crosses from one into the next, so what a
shard holds depends on its stretch alone: a run that was killed and went on writes the same bytes as one that was not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sae.errors import InsightError

from ..backbones import Backbone
from ..data import ImageFolder
from .dtypes import check_dtype
from .encoding import Decoded, decode_ahead, encode_stretch
from .index import write_index
from .journal import FOLDER, Done, Journal, check_settings, shard_name
from .lock import only_writer
from .manifest import FILE, Manifest, StoredShard
from .reader import FeatureCache
from .shard import write_shard


def write_cache(
    folder: Path | str,
    backbone: Backbone,
    out: Path | str,
    *,
    dtype: str = "float16",
    shard_images: int = 256,
    batch_size: int = 16,
    workers: int | None = None,
    progress: bool = True,
) -> FeatureCache:
    """Encode every photo in `folder` (and below it) and store patch and image vectors in the folder `out`.

    dtype: float32, bfloat16, float16 or int8, for the patches; shard_images: files per shard, also what a killed run
    may lose; workers: threads that decode (default: one per core, at most 8).
    The same call goes on after a kill, and returns at once when the cache is finished. Files that give no image are
    listed with their reason in the manifest. `InsightError` when there is no image, the settings differ from those of
    the cache in `out`, another process is writing there, or the disk refuses; finished shards are kept.
    """
    source, out = ImageFolder(Path(folder)), Path(out)
    settings = _settings(source, backbone, check_dtype(dtype), shard_images, batch_size)
    if (out / FILE).exists():
        return _finished(out, source, settings)
    ids = source.ids()
    try:
        _prepare(out)
        with only_writer(out):
            if (out / FILE).exists():  # the other writer finished while this one listed the photos
                return _finished(out, source, settings)
            _sweep(out)
            journal = Journal.resume(out, settings) or Journal.begin(out, settings, ids)
            _encode_missing(journal, source, backbone, settings, workers or min(8, os.cpu_count() or 1), progress)
            _write_manifest(journal, source, settings)
            journal.remove()
    except OSError as error:
        raise InsightError(
            f"{error.filename or out}: cannot be written ({error.strerror or error}); make room or allow it, then run"
            " the same command again: it goes on from the last finished shard"
        ) from None
    return FeatureCache.open(out)


def _settings(
    source: ImageFolder, backbone: Backbone, dtype: str, shard_images: int, batch_size: int
) -> dict[str, Any]:
    for name, value in (("shard_images", shard_images), ("batch_size", batch_size)):
        if value < 1:
            raise InsightError(f"{name}: expected at least 1, found {value}")
    return {
        "folder": str(source.path.resolve()),
        "backbone": {
            "name": backbone.name,
            "description": backbone.description,
            "fingerprint": backbone.fingerprint,
            "dim": backbone.dim,
            "grid": list(backbone.grid),
            "image_size": backbone.image_size,
        },
        "dtype": dtype,
        "shard_images": shard_images,
        "batch_size": batch_size,
    }


def _finished(out: Path, source: ImageFolder, settings: dict[str, Any]) -> FeatureCache:
    """The cache in `out` if it was made with these settings and holds all photos of the folder."""
    cache = FeatureCache.open(out)
    made = cache.manifest
    here = {"folder": settings["folder"]}  # photos may have moved since; it is their ids that count, below
    check_settings(out, made["settings"] | here | {name: made[name] for name in ("backbone", "dtype")}, settings)
    known = {*cache.index["id"].to_pylist(), *(entry["id"] for entry in made["skipped"])}
    new = [id for id in source.ids() if id not in known]
    if new:
        raise InsightError(
            f"{out}: is a finished cache, but {source.path} has {len(new)} images that are not in it (first: {new[0]});"
            " write to another folder, or delete this one"
        )
    shutil.rmtree(out / FOLDER, ignore_errors=True)  # left by a run killed between the manifest and its last step
    return cache


def _prepare(out: Path) -> None:
    """Make `out`; it must be empty, ours, or not there, so that nobody's files end up among the shards."""
    out.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in out.iterdir() if path.name != ".lock"]
    if others and not ((out / FOLDER).is_dir() or (out / FILE).exists()):
        raise InsightError(
            f"{out}: expected an empty folder or an unfinished cache, found other files ({min(others)}); write to"
            " another folder"
        )


def _sweep(out: Path) -> None:
    """Remove what a killed run was in the middle of writing; the lock is held, so nobody is writing it now."""
    for part in out.rglob(".*.part"):
        part.unlink()


def _encode_missing(
    journal: Journal, source: ImageFolder, backbone: Backbone, settings: dict[str, Any], workers: int, progress: bool
) -> None:
    """Make the shards that are not there yet."""
    missing = [number for number in range(journal.n_stretches) if number not in journal.done]
    ids = [id for number in missing for id in journal.stretch(number)]
    decoded = decode_ahead(source, backbone, ids, workers, ahead=2 * settings["batch_size"] + workers)
    bad = sum(len(done.skipped) for done in journal.done.values())
    total = len(journal.ids)
    bar = tqdm(desc="encoding", total=total, initial=total - len(ids), unit="photo", disable=not progress)

    def counted() -> Iterator[Decoded]:
        for photo in decoded:
            bar.update()
            yield photo

    with closing(decoded), bar:
        photos = counted()
        for number in missing:
            stretch = islice(photos, len(journal.stretch(number)))
            encoded = encode_stretch(stretch, backbone, settings["dtype"], settings["batch_size"])
            if not source.path.is_dir():  # else every photo that is left would be counted as bad
                raise InsightError(f"{source.path}: the folder is gone; put it back and run the same command again")
            shard = None
            if encoded.ids:
                name = f"{shard_name(number)}.safetensors"
                size, sha256 = write_shard(journal.out / name, encoded.tensors)
                shard = StoredShard(name, size, sha256, len(encoded.ids))
            journal.finish(number, Done(shard, encoded.ids, encoded.skipped))
            bad += len(encoded.skipped)
            bar.set_postfix_str(f"{bad} bad" if bad else "")


def _write_manifest(journal: Journal, source: ImageFolder, settings: dict[str, Any]) -> None:
    """All shards are there: write the index, then the manifest."""
    done = [journal.done[number] for number in range(journal.n_stretches)]
    shards = tuple(stretch.shard for stretch in done if stretch.shard)
    skipped = tuple(entry for stretch in done for entry in stretch.skipped)
    if not shards:
        journal.remove()
        first = skipped[0]
        raise InsightError(
            f"{source.path}: expected images, found {len(skipped)} files of which none can be decoded (first:"
            f" {first['id']}: {first['reason']})"
        )
    ids = [id for stretch in done for id in stretch.ids]
    index = write_index(
        journal.out, ids, [source.label(id) for id in ids], source.name, [shard.rows for shard in shards]
    )
    Manifest(
        backbone=settings["backbone"],
        dtype=settings["dtype"],
        shards=shards,
        index=index,
        skipped=skipped,
        sources=({"name": source.name, "kind": "folder", "path": settings["folder"]},),
        settings={name: settings[name] for name in ("shard_images", "batch_size")},
    ).write(journal.out)
