"""A finished feature cache: read shuffled for training, front to back for statistics, and image by image.

Nothing but the manifest and each shard's header is read when a cache is opened; data is read when asked for, never
more than asked for, and comes out as float32 on the CPU whatever it is stored as.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError

from .dtypes import DTYPES
from .journal import FOLDER
from .manifest import FILE, Manifest
from .shard import Shard, sha256_of
from .shuffle import ShufflePlan, Window
from .tokens import ShardRow, Tokens

if TYPE_CHECKING:
    import pyarrow as pa

SHUFFLE_MEMORY = 2 << 30  # bytes; part of what fixes the order of training, so it does not follow the machine


class FeatureCache:
    """Patch features of many images; a `sae.TokenSource`. Made by `write_cache`, opened by `FeatureCache.open`.

    manifest: what `manifest.json` says; dim: width d of a token; grid: (h, w) patches of an image; backbone,
    fingerprint: what encoded it. Token t is patch t mod h*w (from the top left, row by row) of image t div h*w.
    """

    def __init__(self, folder: Path, manifest: Manifest, shards: list[Shard], shuffle_memory: int) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = manifest.to_json()
        self.dim: int = manifest.backbone["dim"]
        self.grid: tuple[int, int] = tuple(manifest.backbone["grid"])
        self.backbone: str = manifest.backbone["name"]
        self.fingerprint: str = manifest.backbone["fingerprint"]
        self.n_images = manifest.n_images
        self.tokens_per_image = manifest.tokens_per_image
        self.n_tokens = self.n_images * self.tokens_per_image
        self._manifest = manifest
        self._shards = ShardRow(shards, self.tokens_per_image, self.dim)
        self._shuffle_memory = shuffle_memory

    @classmethod
    def open(cls, folder: Path | str, *, shuffle_memory: int = SHUFFLE_MEMORY) -> FeatureCache:
        """Open the cache in `folder`; sizes and forms of all files are checked, their contents by `verify`.

        shuffle_memory: bytes that `batches` may hold; a cache that fits is shuffled perfectly. The order of the
        batches depends on it. `InsightError` if there is no whole cache, or one whose files are not as it says.
        """
        folder = Path(folder)
        if not (folder / FILE).exists():
            raise _no_cache(folder)
        manifest = Manifest.read(folder)
        form = {"tokens": manifest.tokens_per_image, "dim": manifest.backbone["dim"], "dtype": manifest.dtype}
        shards = [
            Shard.open(folder / stored.file, rows=stored.rows, size=stored.bytes, **form) for stored in manifest.shards
        ]
        return cls(folder, manifest, shards, shuffle_memory)

    def require(self, fingerprint: str) -> None:
        """`InsightError` unless the cache was made by the backbone with this fingerprint."""
        if fingerprint != self.fingerprint:
            raise InsightError(
                f"{self.folder}: expected features of the backbone with fingerprint {fingerprint[:12]}, found those of"
                f" {self.backbone} with {self.fingerprint[:12]}; make the cache again with the backbone you mean"
            )

    @cached_property
    def index(self) -> pa.Table:
        """One line per image, in the order of the tokens: id, source, label, split, shard, row."""
        from .index import read_index

        return read_index(self.folder, self._manifest)

    @property
    def labels(self) -> list[str | None]:
        """The label of each image, None where it has none."""
        return self.index["label"].to_pylist()

    def locate(self, token: int) -> tuple[int, int, int]:
        """A token's image, and its row and column on the patch grid."""
        _check_range("token", token, self.n_tokens)
        image, patch = divmod(token, self.tokens_per_image)
        return image, *divmod(patch, self.grid[1])

    def image(self, image: int) -> Float[Tensor, "hw d"]:
        """The patches of one image."""
        _check_range("image", image, self.n_images)
        return self._read(image * self.tokens_per_image, self.tokens_per_image).all()

    def pooled(self) -> Float[Tensor, "n d"]:
        """The image vectors of all images."""
        pooled = torch.empty(self.n_images, self.dim)
        for shard, rows in zip(self._shards.shards, pooled.split([s.rows for s in self._shards.shards]), strict=True):
            with shard.opened() as file:
                shard.read(file, shard.pooled, rows)
        return pooled

    def scan(self, batch_tokens: int = 16384) -> Iterator[tuple[int, Float[Tensor, "n d"]]]:
        """All tokens in order, as (number of the first, its features and those of the next ones).

        A piece holds whole images of one shard: as many as fit into `batch_tokens`, at least one.
        """
        step = max(1, batch_tokens // self.tokens_per_image) * self.tokens_per_image
        for start, size in zip(self._shards.starts.tolist(), self._shards.sizes.tolist(), strict=True):
            for first in range(start, start + size, step):
                yield first, self._read(first, min(step, start + size - first)).all()

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Float[Tensor, "b d"]]:
        """Endless shuffled batches, from `start_step` on; the same for the same seed wherever one starts.

        Every epoch visits every token once; batches run on across the end of an epoch.
        """
        if batch_size < 1 or seed < 0 or start_step < 0:
            raise InsightError(
                "expected a batch size of at least 1, a seed and a step of at least 0, found batch size"
                f" {batch_size}, seed {seed}, step {start_step}"
            )
        return self._batches(batch_size, seed, start_step)

    def _batches(self, batch_size: int, seed: int, start_step: int) -> Iterator[Tensor]:
        plan = self._plan(seed)
        epoch, token = divmod(start_step * batch_size, self.n_tokens)
        begun: list[Tensor] = []  # what a window's end gave to a batch that the next window must fill
        missing = batch_size
        for window, tokens in self._load_ahead(plan.windows_from(epoch, token), plan.n_windows):
            order = torch.from_numpy(plan.order(window))
            at = max(0, token - window.first)
            token = 0
            while at < window.n_tokens:
                begun.append(tokens.take(order[at : at + missing]))
                at += len(begun[-1])
                missing -= len(begun[-1])
                if not missing:
                    yield torch.cat(begun) if len(begun) > 1 else begun[0]
                    begun, missing = [], batch_size
            del tokens  # before the next but one is loaded: two windows are what the memory allows

    def _plan(self, seed: int) -> ShufflePlan:
        """One window if everything fits into the memory, else two of half its size: one in use, one being loaded."""
        in_order = 8  # bytes of a place in the window's permutation
        of_token = self.dim * DTYPES[self._manifest.dtype].itemsize + (4 if self._manifest.dtype == "int8" else 0)
        room = self._shuffle_memory // (of_token + in_order)
        return ShufflePlan(self._shards.sizes, room if room >= self.n_tokens else room // 2, seed)

    def _load_ahead(self, windows: Iterator[Window], n_windows: int) -> Iterator[tuple[Window, Tokens]]:
        """Each window with its tokens, the next one being read meanwhile; a sole window is read once."""
        window = next(windows)
        if n_windows == 1:
            tokens = self._shards.read(window.runs)
            yield window, tokens
            yield from ((following, tokens) for following in windows)
        with ThreadPoolExecutor(1, thread_name_prefix="cache") as thread:
            coming = thread.submit(self._shards.read, window.runs)
            for following in windows:
                tokens = coming.result()
                coming = thread.submit(self._shards.read, following.runs)
                yield window, tokens
                del tokens
                window = following

    def _read(self, first: int, count: int) -> Tokens:
        return self._shards.read(np.array([[first, count]]))

    def verify(self) -> None:
        """Read everything and compare it with the manifest's checksums; `InsightError` names every damaged file."""
        damaged = []
        for stored in (*self._manifest.shards, self._manifest.index):
            found = sha256_of(self.folder / stored.file)
            if found != stored.sha256:
                damaged.append(f"{stored.file} (expected SHA-256 {stored.sha256[:12]}, found {found[:12]})")
        if damaged:
            raise InsightError(f"{self.folder}: damaged: {', '.join(damaged)}; restore them or make the cache again")
        _ = self.index


def _no_cache(folder: Path) -> InsightError:
    if (folder / FOLDER).is_dir():
        return InsightError(f"{folder}: this cache is not finished; run the same `insight cache` command again")
    found = "no such folder" if not folder.exists() else f"a {'folder' if folder.is_dir() else 'file'} without"
    return InsightError(f"{folder}: expected a feature cache with {FILE}, found {found}; make one by `insight cache`")


def _check_range(what: str, number: int, count: int) -> None:
    if not 0 <= number < count:
        raise InsightError(f"{what}: expected a number from 0 to {count - 1}, found {number}")
