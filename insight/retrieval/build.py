"""One pass over a cache → the folder of an index. Kept up to the last part after kill -9; there when it is whole.

Everything is written in FOLDER.unfinished, which becomes FOLDER by one rename. The pass goes part by part (`PART`
images); the files of a part are written whole, and a run that finds them goes on behind them. At the end parts are
merged: postings and cells on disk, so that memory is bounded by a part, however many images there are.

Folder: `index.json` (what it is an index of, and the size of every file), the postings' arrays, `ids.utf8` and
`id_offsets.npy` (ids of images one behind the other, and where each begins), `photos.faiss` (image vectors) and
`patches.faiss` (of each image a few patches, or all), each with a `.ivfdata` where it is compressed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from sae import SparseAutoencoder, SparseCodes
from sae.distributed.group import Group
from sae.errors import InsightError
from sae.files import atomic_write, read_json, write_json

from ..cache import FeatureCache
from ..cache.format.index import stream_index
from ..heads.pooling import pool
from . import postings, vectors
from .representatives import representatives

FILE = "index.json"
BEGUN = "begun.json"
FORMAT = "insight-retrieval"
VERSION = 1
PHOTOS, PATCHES = "photos.faiss", "patches.faiss"
IDS, ID_OFFSETS = "ids.utf8", "id_offsets.npy"
_READ = 4096  # image vectors at a time


class Segment(Group):
    """Share number `rank` of `size` of a pass: `FeatureCache.scan` gives a process its share in the same way."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def write_index(
    folder: Path, sae: SparseAutoencoder, cache: FeatureCache, about: dict[str, Any], *, progress: bool
) -> None:
    """Make the folder, or go on where a run was stopped.

    about: what `index.json` is to say besides the files; its "patches" is how many of each image are indexed, its
    "flat" how many vectors are kept uncompressed, its "part_images" the size of a part. `InsightError` if the folder is
    there, another process writes it, or it was begun for something else.
    """
    work = folder.with_name(f"{folder.name}.unfinished")
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / ".lock", timeout=0):
            if folder.exists() and any(folder.iterdir()):
                raise InsightError(f"{folder}: expected no folder or an empty one, found files; choose another")
            _check_begun(work, about)
            if not (work / FILE).exists():
                (work / "parts").mkdir(exist_ok=True)
                write_json(work / BEGUN, about)
                parts = _pass(work, sae, cache, about, progress)
                _merge(work, cache, parts, sae.n_concepts)
                files = {p.name: p.stat().st_size for p in work.iterdir() if _lasts(p)}
                write_json(work / FILE, about | {"files": files})
            shutil.rmtree(work / "parts", ignore_errors=True)
            (work / BEGUN).unlink(missing_ok=True)
            work.rename(folder)
    except Timeout:
        raise InsightError(f"{folder}: another process is building this index; wait until it ends") from None


def _check_begun(work: Path, about: dict[str, Any]) -> None:
    for file in (work / BEGUN, work / FILE):
        begun = dict(read_json(file) if file.exists() else about)
        begun.pop("files", None)
        if begun != about:
            raise InsightError(
                f"{work}: an index was begun here of another model or cache, or with other settings; run what began it"
                " again, or delete this folder"
            )


def _lasts(path: Path) -> bool:
    return path.is_file() and path.name != BEGUN and not path.name.startswith(".")


def _pass(
    work: Path, sae: SparseAutoencoder, cache: FeatureCache, about: dict[str, Any], progress: bool
) -> list[list[Path]]:
    """Write the parts that are not there yet; of each the files of its photos, patches and postings."""
    slots, part_images = about["patches"], about["part_images"]
    for name, count, sample in (
        (PHOTOS, cache.n_images, _photo_sample(cache)),
        (PATCHES, cache.n_images * slots, _patch_sample(cache, slots)),
    ):
        if not (work / "parts" / name).exists():
            vectors.write_empty(work / "parts" / name, cache.dim, count, about["flat"], sample)
    size = -(-cache.n_images // part_images)
    written = []
    with tqdm(total=cache.n_images, desc="indexing", unit="img", disable=not progress) as bar:
        for number in range(size):
            files = [work / "parts" / f"{number:06d}-{name}" for name in (PHOTOS, PATCHES, "postings.npz")]
            written.append(files)
            if files[-1].exists():  # the last one that is written
                bar.update(cache.n_images // size)
            else:
                _write_part(files, sae, cache, Segment(number, size), slots, part_images, bar.update)
    return written


def _write_part(
    files: list[Path],
    sae: SparseAutoencoder,
    cache: FeatureCache,
    segment: Segment,
    slots: int,
    part_images: int,
    done: Callable[[int], object],
) -> None:
    tokens, device = cache.tokens_per_image, sae.decoder.device
    held: list[SparseCodes] = []
    begin: int | None = None
    photos = patches = None
    for first_token, features in cache.scan(min(16384, part_images * tokens), group=segment):
        first, images = first_token // tokens, len(features) // tokens
        if photos is None or patches is None:
            begin = first
            photos = vectors.Part(files[0].with_name(PHOTOS), first)
            patches = vectors.Part(files[0].with_name(PATCHES), first * slots)
        features = features.to(device)
        held.append(pool(sae.encode(features), tokens, "max").to("cpu"))
        photos.add(F.normalize(cache.pooled(first, images), dim=1).numpy())
        patches.add(representatives(features.view(images, tokens, -1), slots).flatten(0, 1).cpu().numpy())
        done(images)
    if photos is None or patches is None or begin is None:  # fewer pieces than parts
        photos, patches = (vectors.Part(files[0].with_name(name), 0) for name in (PHOTOS, PATCHES))
        held, begin = [SparseCodes.from_dense(torch.zeros(0, sae.n_concepts))], 0
    photos.write(files[0])
    patches.write(files[1])
    postings.write_part(files[2], SparseCodes.cat(held), begin)


def _merge(work: Path, cache: FeatureCache, parts: list[list[Path]], n_concepts: int) -> None:
    for place, name in enumerate((PHOTOS, PATCHES)):
        vectors.merge_parts(work / name, work / "parts" / name, [files[place] for files in parts])
    postings.merge_parts(work, [files[2] for files in parts], n_concepts)
    _write_ids(work, cache)


def _write_ids(work: Path, cache: FeatureCache) -> None:
    """The ids of all images, one behind the other: no table of millions is parsed for twenty of them."""
    lengths = [np.zeros(1, dtype=np.int64)]
    with atomic_write(work / IDS) as temporary, temporary.open("wb") as file:
        for lines in stream_index(cache.folder, cache.manifest):
            encoded = [id.encode() for id in lines["id"].to_pylist()]
            file.write(b"".join(encoded))
            lengths.append(np.array([len(id) for id in encoded], dtype=np.int64))
    with atomic_write(work / ID_OFFSETS) as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate(lengths).cumsum(), allow_pickle=False)


def _photo_sample(cache: FeatureCache) -> Callable[[int], Float[np.ndarray, "s d"]]:
    """Image vectors drawn at random, of unit length."""

    def sample(count: int) -> np.ndarray:
        drawn = _drawn(cache.n_images, count)
        found = []
        for first in range(0, cache.n_images, _READ):
            here = drawn[np.searchsorted(drawn, first) : np.searchsorted(drawn, first + _READ)]
            if len(here):
                found.append(cache.pooled(first, min(_READ, cache.n_images - first))[torch.from_numpy(here - first)])
        return _unit(torch.cat(found))

    return sample


def _patch_sample(cache: FeatureCache, slots: int) -> Callable[[int], Float[np.ndarray, "s d"]]:
    """What `representatives` keeps of images drawn at random."""

    def sample(count: int) -> np.ndarray:
        drawn = _drawn(cache.n_images, -(-count // slots)).tolist()
        return torch.cat([representatives(cache.image(image)[None], slots)[0] for image in drawn]).numpy()

    return sample


def _drawn(images: int, count: int) -> np.ndarray:
    """Different images, ascending, the same in every run."""
    return np.sort(np.random.default_rng(0).choice(images, min(count, images), replace=False))


def _unit(rows: Tensor) -> np.ndarray:
    return F.normalize(rows, dim=1).numpy()
