"""Features of images that are encoded while they are trained on, in place of a cache.

A window of images is read, decoded and encoded in the background while the windows before it are used; its features
are held as a cache would store them, and its tokens visited in random order. Nothing is written. Every epoch encodes
every image again, unless all features fit into the memory allowed: then they are encoded once.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from sae.errors import InsightError

from ...backbones import Backbone
from ...data import ImageSource
from ..reading.tokens import room_for
from ..reading.windows import HELD, check_batches, cut_batches
from ..writing.request import Request
from .image_order import ImagePlan
from .window_encoder import WindowEncoder

BUFFER_MEMORY = 1 << 30  # bytes; twice a cache's, because whole images mix less than blocks


class StreamedFeatures:
    """Patch features of the images of a source, encoded when they are asked for; a `sae.SharedSource`.

    buffer_memory: bytes of features that are held, part of what fixes the order; dtype: float32, bfloat16, float16 or
    int8, how they are held; batch_size: images a forward pass; workers: threads that decode (default: one per core, at
    most 16).

    By default 4,000 images of `small` are mixed at a time, and training waits for the first 1,300. Fewer mix less: on
    1,000 real images a dictionary left 8 % more unexplained than after a full shuffle when 440 were mixed at a time.

    Where a source can be read at any place (folders, lists, datasets with an index) every epoch is a permutation of
    all images. Where it cannot (tars), the images are counted when it is opened, which reads it once; every epoch is a
    permutation of its parts, and a window takes the next images of up to 16 parts: images should not lie sorted in
    them. In memory are, beside the features, the names of the images, about 150 bytes each.

    An image that is bad is said once and kept in `skipped` (id → reason); in its window its place is taken by the next
    good image, so that every epoch has as many tokens as it should. `InsightError` when there is no image.
    """

    def __init__(
        self,
        source: ImageSource,
        backbone: Backbone,
        *,
        buffer_memory: int = BUFFER_MEMORY,
        dtype: str = "float16",
        batch_size: int = 16,
        workers: int | None = None,
    ) -> None:
        place = {"name": source.name, "kind": source.kind, "place": source.place}
        self._request = Request(place, backbone, dtype, None, 0, (), 1, batch_size)
        self.source = source
        self.dim = backbone.dim
        self.skipped: dict[str, str] = {}
        self._memory = buffer_memory
        self._workers = workers or min(16, os.cpu_count() or 1)
        self._parts, self._counts = _parts_of(source)

    @property
    def n_images(self) -> int:
        """Images of an epoch, the bad ones counted."""
        return int(self._counts.sum())

    @property
    def n_tokens(self) -> int:
        """Tokens of an epoch."""
        return self.n_images * self._request.form.tokens

    @property
    def encoder(self) -> dict[str, Any]:
        """The backbone, as the manifest of a cache and the config of a model have it."""
        return dict(self._request.kept["backbone"])

    def share(self, rank: int, world: int) -> StreamedFeatures:
        """What process number `rank` of `world` encodes and trains on: every world-th part, the same in every epoch.

        `InsightError` when there are fewer parts than processes.
        """
        if len(self._parts) < world:
            raise InsightError(
                f"{self.source.place}: expected at least one image or tar for each of {world} processes, found"
                f" {len(self._parts)}; use fewer processes"
            )
        share = copy.copy(self)
        share._parts, share._counts = self._parts[rank::world], self._counts[rank::world]
        return share

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Float[Tensor, "b d"]]:
        """Endless shuffled batches, from `start_step` on; the same for the same seed wherever one starts.

        To start anywhere as many images are encoded as memory holds, and nothing before them.
        """
        check_batches(batch_size, seed, start_step)
        return self._batches(batch_size, seed, start_step)

    def _batches(self, batch_size: int, seed: int, start_step: int) -> Iterator[Tensor]:
        form = self._request.form
        images = room_for(self._memory, form) // form.tokens
        plan = ImagePlan(self._counts, form.tokens, images if images >= self.n_images else images // HELD, seed=seed)
        encoder = WindowEncoder(self.source, self._parts, self._request, self._workers, self.skipped)
        yield from cut_batches(plan, form, encoder.encode, batch_size, start_step)


def _parts_of(source: ImageSource) -> tuple[list[list[str]], np.ndarray]:
    """The smallest parts that a source can be read in, and int64 how many images each has."""
    parts = [*source.parts(1)]
    if sum(1 for _ in source.parts(2)) < len(parts):  # the source can choose, so these are single images
        return parts, np.ones(len(parts), dtype=np.int64)
    listed = tqdm(parts, desc=f"counting the images of {source.name}", unit="part", delay=2)
    counts = np.array([sum(1 for _ in source.read(part)) for part in listed], dtype=np.int64)
    if not counts.sum():
        raise InsightError(f"{source.place}: expected images, found none in {len(parts)} parts")
    return [part for part, count in zip(parts, counts, strict=True) if count], counts[counts > 0]
