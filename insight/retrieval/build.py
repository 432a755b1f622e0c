"""One pass over a cache → the folder of an index. Kept up to the last part after kill -9; there when it is whole.

Everything is written in FOLDER.unfinished, which becomes FOLDER by one rename. The pass goes part by part; the files of
a part are written whole, and a run that finds them goes on behind them. Memory is bounded by a part, however many
images there are.

Folder: `index.json` (what it is an index of, and the size of every file), the postings' arrays, `ids.utf8` and
`id_offsets.npy` (ids of images one behind the other, and where each begins), and of each part `NUMBER-photos.faiss`
(image vectors) and `NUMBER-patches.faiss` (a few vectors for the patches of each image).
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
FORMAT = "insight-retrieval"
VERSION = 1
PHOTOS, PATCHES = "photos.faiss", "patches.faiss"
IDS, ID_OFFSETS = "ids.utf8", "id_offsets.npy"
_PASS, _BEGUN = "pass", "begun.json"  # what a pass needs to go on
_READ = 4096  # image vectors at a time
_TOKENS = 16384  # at a time


class Segment(Group):
    """Share number `rank` of `size` of a pass: `FeatureCache.scan` gives a process its share in the same way."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def write_index(
    folder: Path, sae: SparseAutoencoder, cache: FeatureCache, about: dict[str, Any], *, progress: bool
) -> None:
    """Make the folder, or go on where a run was stopped.

    about: what `index.json` is to say besides the files; its "patches" is how many vectors stand for an image's
    patches, its "flat" how many are kept uncompressed, its "parts" how many parts there are. `InsightError` if the
    folder is there, another process writes it, or it was begun for something else.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InsightError(f"{folder}: expected no folder or an empty one, found files; choose another")
    work = folder.with_name(f"{folder.name}.unfinished")
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / ".lock", timeout=0):
            _check_begun(work, about)
            for left in work.rglob(".*.part"):  # of files that a killed run was writing
                left.unlink()
            if not (work / FILE).exists():
                (work / _PASS).mkdir(exist_ok=True)
                write_json(work / _BEGUN, about)
                _pass(work, sae, cache, about, progress)
                parts = [work / _PASS / _name(number, "postings.npz") for number in range(about["parts"])]
                postings.merge_parts(work, parts, sae.n_concepts)
                _write_ids(work, cache)
                files = {path.name: path.stat().st_size for path in sorted(work.iterdir()) if _lasts(path)}
                write_json(work / FILE, about | {"files": files})
            shutil.rmtree(work / _PASS, ignore_errors=True)
            (work / _BEGUN).unlink(missing_ok=True)
            work.rename(folder)
    except Timeout:
        raise InsightError(f"{folder}: another process is building this index; wait until it ends") from None


def parts_of(folder: Path, about: dict[str, Any], name: str) -> list[Path]:
    """The files of the vectors `PHOTOS` or `PATCHES`."""
    return [folder / _name(number, name) for number in range(about["parts"])]


def _name(number: int, name: str) -> str:
    return f"{number:05d}-{name}"


def _check_begun(work: Path, about: dict[str, Any]) -> None:
    for file in (work / _BEGUN, work / FILE):
        begun = dict(read_json(file) if file.exists() else about)
        begun.pop("files", None)
        if begun != about:
            raise InsightError(
                f"{work}: an index was begun here of another model or cache, or with other settings; run what began it"
                " again, or delete this folder"
            )


def _lasts(path: Path) -> bool:
    return path.is_file() and path.name != _BEGUN and not path.name.startswith(".")


def _pass(work: Path, sae: SparseAutoencoder, cache: FeatureCache, about: dict[str, Any], progress: bool) -> None:
    """Write the parts that are not there yet."""
    slots, parts = about["patches"], about["parts"]
    empty_photos, empty_patches = work / _PASS / PHOTOS, work / _PASS / PATCHES
    if not empty_photos.exists():
        vectors.write_empty(empty_photos, cache.dim, cache.n_images, about["flat"], _photo_sample(cache))
    if not empty_patches.exists():
        count = cache.n_images * slots
        vectors.write_empty(empty_patches, cache.dim, count, about["flat"], _patch_sample(cache, slots))
    with tqdm(total=cache.n_images, desc="indexing", unit="img", disable=not progress) as bar:
        for number in range(parts):
            last = work / _PASS / _name(number, "postings.npz")
            if last.exists():
                bar.update(cache.n_images // parts)
                continue
            bar.update(_read_part(work, sae, cache, about, number))


def _read_part(work: Path, sae: SparseAutoencoder, cache: FeatureCache, about: dict[str, Any], number: int) -> int:
    """Write one part, its postings last; how many images it has (none where the cache has fewer pieces than parts)."""
    tokens, slots, parts = cache.tokens_per_image, about["patches"], about["parts"]
    pooled, first = [SparseCodes.from_dense(torch.zeros(0, sae.n_concepts))], None
    photos, patches = (vectors.Part(work / _PASS / name) for name in (PHOTOS, PATCHES))
    for first_token, features in cache.scan(min(_TOKENS, cache.n_tokens // parts), Segment(number, parts)):
        image, images = first_token // tokens, len(features) // tokens
        first = image if first is None else first
        features = features.to(sae.decoder.device)
        pooled.append(pool(sae.encode(features), tokens, "max").to("cpu"))
        photos.add(F.normalize(cache.pooled(image, images), dim=1).numpy(), image)
        of_patches = representatives(features.view(images, tokens, -1), slots)
        patches.add(of_patches.flatten(0, 1).cpu().numpy(), image * slots)
    photos.write(work / _name(number, PHOTOS))
    patches.write(work / _name(number, PATCHES))
    codes = SparseCodes.cat(pooled)
    postings.write_part(work / _PASS / _name(number, "postings.npz"), codes, first or 0)
    return codes.n


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
        return F.normalize(torch.cat(found), dim=1).numpy()

    return sample


def _patch_sample(cache: FeatureCache, slots: int) -> Callable[[int], Float[np.ndarray, "s d"]]:
    """The representatives of images drawn at random."""

    def sample(count: int) -> np.ndarray:
        drawn = _drawn(cache.n_images, -(-count // slots)).tolist()
        return torch.cat([representatives(cache.image(image)[None], slots)[0] for image in drawn]).numpy()

    return sample


def _drawn(images: int, count: int) -> np.ndarray:
    """Different images, ascending, the same in every run."""
    return np.sort(np.random.default_rng(0).choice(images, min(count, images), replace=False))
