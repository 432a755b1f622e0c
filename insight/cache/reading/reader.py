"""A finished feature cache: read shuffled for training, front to back for statistics, and image by image.

Nothing but the manifest and each shard's header is read when a cache is opened; data is read when asked for, never
more than asked for, compared with its checksums, and comes out as float32 on the CPU whatever it is stored as.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int16, Int32
from torch import Tensor

from sae.distributed import ALONE, Group
from sae.errors import InsightError

from ..format.blocks import rest_checks
from ..format.manifest import FILE, UNFINISHED, Manifest
from ..format.shard import Shard, sha256_of
from .shuffle import PieceWindow, ShufflePlan
from .tokens import ShardRow, Tokens, damaged, room_for
from .windows import HELD, MIXED, check_batches, cut_batches

if TYPE_CHECKING:
    import pyarrow as pa

SHUFFLE_MEMORY = 512 << 20  # bytes; part of what fixes the order of training, so it does not follow the machine
_READERS = 4
_PIECES = 6000  # that are mixed at a time at least, where so many blocks are: see `Share._plan`
_IMAGES = 4096  # of which the small tensors are read at a time


class FeatureCache:
    """Patch features of many images; a `sae.TokenSource`. Made by `write_cache`, opened by `FeatureCache.open`.

    manifest: what `manifest.json` says; dim: width d of a token; grid: (h, w) patches of an image; backbone,
    fingerprint: what encoded it; tokens_per_image: t, how many of its patches were kept; classes: names of the classes
    that patches are marked with. Token k is of image k div t, its patches in the order of the grid.

    Whatever reads features compares them with their checksums: `InsightError` names a damaged shard.
    """

    def __init__(self, folder: Path, manifest: Manifest, shards: list[Shard], shuffle_memory: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self.dim: int = manifest.backbone["dim"]
        self.grid: tuple[int, int] = tuple(manifest.backbone["grid"])
        self.backbone: str = manifest.backbone["name"]
        self.fingerprint: str = manifest.backbone["fingerprint"]
        self.n_images = manifest.n_images
        self.tokens_per_image = manifest.tokens_per_image
        self.n_tokens = self.n_images * self.tokens_per_image
        self.classes = manifest.classes
        self.shuffle_memory = shuffle_memory
        self._shards = ShardRow(shards, manifest.form)

    @classmethod
    def open(cls, folder: Path | str, *, shuffle_memory: int = SHUFFLE_MEMORY) -> FeatureCache:
        """Open the cache in `folder`; sizes and forms of all files are checked now, their contents when they are read.

        shuffle_memory: bytes that `batches` may hold; a cache that fits is shuffled perfectly. The order of the
        batches depends on it. `InsightError` if there is no whole cache, or one whose files are not as it says.
        """
        folder = Path(folder)
        if not (folder / FILE).exists():
            raise _no_cache(folder)
        manifest = Manifest.read(folder)
        shards = [
            Shard.open(folder / stored.file, manifest.form, rows=stored.rows, size=stored.bytes)
            for stored in manifest.shards
        ]
        return cls(folder, manifest, shards, shuffle_memory)

    @property
    def encoder(self) -> dict[str, Any]:
        """The backbone, as the manifest and the config of a model have it."""
        return self.manifest.backbone

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
        from ..format.index import read_index

        return read_index(self.folder, self.manifest)

    @cached_property
    def skipped(self) -> pa.Table:
        """One line per image that gave no features: id, source, reason."""
        from ..format.index import read_skipped

        return read_skipped(self.folder, self.manifest)

    @property
    def labels(self) -> list[str | None]:
        """The label of each image, None where it has none."""
        return self.index["label"].to_pylist()

    def locate(self, token: int) -> tuple[int, int, int]:
        """A token's image, and its row and column on the patch grid."""
        _check_range("token", token, self.n_tokens)
        image, place = divmod(token, self.tokens_per_image)
        patch = int(self.positions(image, 1)[0, place]) if self.manifest.form.has_positions else place
        return image, *divmod(patch, self.grid[1])

    def image(self, image: int) -> Float[Tensor, "t d"]:
        """The patches of one image."""
        _check_range("image", image, self.n_images)
        return self._read(image, 1).all()

    def pooled(self, first: int = 0, images: int | None = None) -> Float[Tensor, "n d"]:
        """The image vectors of images.

        first, images: the first image and how many (default: all from there on).
        """
        return self._of_images("pooled", first, self._check_images(first, images))

    def positions(self, first: int = 0, images: int | None = None) -> Int32[Tensor, "n t"]:
        """Which patches of the grid the tokens of images are, counted row by row from the top left, ascending.

        first, images: the first image and how many (default: all from there on).
        """
        images = self._check_images(first, images)
        if self.manifest.form.has_positions:
            return self._of_images("positions", first, images)
        return torch.arange(self.tokens_per_image, dtype=torch.int32).repeat(images, 1)

    def patch_classes(self, first: int = 0, images: int | None = None) -> Int16[Tensor, "n t"]:
        """The class of each token of images, a place in `classes`, or -1 for none.

        first, images: the first image and how many (default: all from there on). `InsightError` in a cache without
        masks.
        """
        if not self.classes:
            raise InsightError(f"{self.folder}: expected a cache of images with masks, found one without")
        return self._of_images("classes", first, self._check_images(first, images))

    def scan(
        self, batch_tokens: int = 16384, group: Group = ALONE.everyone
    ) -> Iterator[tuple[int, Float[Tensor, "n d"]]]:
        """All tokens in order, as (number of the first, its features and those of the next ones).

        A piece holds whole images of one shard: as many as fit into `batch_tokens`, at least one. In a `group` each
        rank gets a contiguous share of the same pieces, none where there are too few.
        """
        step = max(1, batch_tokens // self.tokens_per_image)
        pieces = [
            (first, min(step, start + shard.rows - first))
            for start, shard in zip(self._shards.starts.tolist(), self._shards.shards, strict=False)
            for first in range(start, start + shard.rows, step)
        ]
        for first, images in pieces[group.share(len(pieces))]:
            yield first * self.tokens_per_image, self._read(first, images).all()

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Float[Tensor, "b d"]]:
        """Endless shuffled batches, from `start_step` on; the same for the same seed wherever one starts.

        Every epoch visits every token once; batches run on across the end of an epoch.
        """
        return self.share(0, 1).batches(batch_size, seed=seed, start_step=start_step)

    def share(self, rank: int, world: int) -> Share:
        """What process number `rank` of `world` trains on: its part of the tokens, another one in each epoch.

        `InsightError` when there are fewer blocks of tokens than processes.
        """
        return Share(self, self._shards, rank, world)

    def verify(self) -> None:
        """Read all files and compare them with the manifest's checksums; `InsightError` names every damaged file.

        Training and every other reading compare what they read with checksums of their own; this is for whole files.
        """
        from tqdm import tqdm

        files = (*self.manifest.shards, self.manifest.index, self.manifest.skipped)
        damage = []
        size = sum(stored.bytes for stored in files)
        with tqdm(total=size, desc="verifying", unit="B", unit_scale=True, delay=2) as bar:
            for stored in files:
                found = sha256_of(self.folder / stored.file)
                if found != stored.sha256:
                    damage.append(f"{stored.file} (expected SHA-256 {stored.sha256[:12]}, found {found[:12]})")
                bar.update(stored.bytes)
        if damage:
            raise InsightError(f"{self.folder}: damaged: {', '.join(damage)}; restore them or make the cache again")
        _ = self.index, self.skipped

    def _repr_html_(self) -> str:
        from ...render.notebook import cache_html

        return cache_html(self)

    def _read(self, first: int, images: int) -> Tokens:
        tokens = Tokens.empty(images * self.tokens_per_image, self.manifest.form)
        self._shards.read(np.array([[first, images]]) * self._shards.blocks, tokens)
        return tokens

    def _of_images(self, name: str, first: int, images: int) -> Tensor:
        """Rows of one of the small tensors; all of them are read, because their check is of all."""
        form = self.manifest.form
        dtype, (_, *shape) = form.tensors(0)[name]
        out = torch.empty([images, *shape], dtype=dtype)
        at = 0
        while at < images:
            number, row = self._shards.find(first + at)
            shard = self._shards.shards[number]
            count = min(_IMAGES, shard.rows - row, images - at)
            with shard.opened() as file:
                rest = {other: shard.tensor(file, other, row, count) for other in form.rest}
                expected = shard.tensor(file, "checks", row, count)[:, -1]
            wrong = (rest_checks([*rest.values()]) != expected).nonzero()
            if len(wrong):
                raise damaged(shard, f"{' or '.join(form.rest)} of its image {row + int(wrong[0])}")
            if not self._in_range(name, rest[name]):
                raise InsightError(
                    f"{shard.path}: damaged: expected {name} that the manifest allows, found others among images {row}"
                    f" to {row + count - 1}; make the cache again"
                )
            out[at : at + count] = rest[name]
            at += count
        return out

    def _in_range(self, name: str, rows: Tensor) -> bool:
        """Whether positions ascend and lie on the grid, and classes have names."""
        if name == "positions":
            on_grid = (rows[:, 0] >= 0) & (rows[:, -1] < self.grid[0] * self.grid[1])
            return bool((on_grid & (rows.diff(dim=1) > 0).all(1)).all())
        return name != "classes" or bool(((rows >= -1) & (rows < len(self.classes))).all())

    def _check_images(self, first: int, images: int | None) -> int:
        images = self.n_images - first if images is None else images
        _check_range("image", first, self.n_images)
        _check_range("images", images, self.n_images - first + 1)
        return images


class Share:
    """The tokens of a cache that one of several processes trains on; a `sae.TokenSource`."""

    def __init__(self, cache: FeatureCache, shards: ShardRow, rank: int, world: int) -> None:
        self.dim = cache.dim
        self._cache, self._shards, self._rank, self._world = cache, shards, rank, world
        self.n_tokens = self._plan(0)[0].n_tokens

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Float[Tensor, "b d"]]:
        """Endless shuffled batches of this process's own, from `start_step` on; see `FeatureCache.batches`."""
        check_batches(batch_size, seed, start_step)
        return self._batches(batch_size, seed, start_step)

    def _batches(self, batch_size: int, seed: int, start_step: int) -> Iterator[Tensor]:
        plan, blocks = self._plan(seed)
        with ThreadPoolExecutor(_READERS, thread_name_prefix="cache") as threads:

            def load(window: PieceWindow, tokens: Tokens, stopped: Event) -> None:
                runs = np.stack([window.pieces * blocks, np.full_like(window.pieces, blocks)], axis=1)
                self._shards.read(runs, tokens, threads, stopped)

            yield from cut_batches(plan, self._shards.form, load, batch_size, start_step)

    def _plan(self, seed: int) -> tuple[ShufflePlan, int]:
        """The order of tokens, and how many blocks a piece has.

        One window if everything fits into the memory, else as many as are held at a time. Disks read large pieces
        faster, but it is their number that mixes: on real features (1,000 images, 512 concepts, two passes), with half
        of everything in memory, a dictionary left 0.9 % more unexplained than after a full shuffle when 6,000 pieces
        were mixed, and 3 % more with 1,500. So pieces have more than one block only where 6,000 are mixed.
        """
        form, edges = self._shards.form, self._shards.edges
        room = room_for(self._cache.shuffle_memory, form)
        if self._cache.n_tokens > room or self._world > 1:
            room //= HELD
        images = min(MIXED * room, self._cache.n_tokens // self._world) / form.tokens  # mixed at a time
        of_image = self._shards.blocks
        choices = [n for n in range(1, of_image + 1) if of_image % n == 0 and images * of_image >= _PIECES * n]
        blocks = max(choices, default=1)
        plan = ShufflePlan(self._cache.n_images, edges[::blocks], room, seed=seed, rank=self._rank, world=self._world)
        return plan, blocks


def _no_cache(folder: Path) -> InsightError:
    if (folder / UNFINISHED).is_dir():
        return InsightError(f"{folder}: this cache is not finished; run the same `insight cache write` command again")
    found = "no such folder" if not folder.exists() else f"a {'folder' if folder.is_dir() else 'file'} without"
    return InsightError(
        f"{folder}: expected a feature cache with {FILE}, found {found}; make one by `insight cache write`"
    )


def _check_range(what: str, number: int, count: int) -> None:
    if not 0 <= number < count:
        raise InsightError(f"{what}: expected a number from 0 to {count - 1}, found {number}")
