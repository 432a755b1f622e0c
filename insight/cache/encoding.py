"""From the ids of photos to the tensors of a shard: decoding in threads ahead of the encoder, encoding in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ..backbones import Backbone
from ..data import BadImage, ImageFolder
from .dtypes import pack


@dataclass(frozen=True)
class Decoded:
    """What became of one file: the backbone's input [3, S, S], or the reason why there is none."""

    id: str
    image: Tensor | None
    reason: str = ""


@dataclass(frozen=True)
class Encoded:
    """What became of a stretch of files: its shard's tensors (none if `ids` is empty), its images, its bad files."""

    tensors: dict[str, Tensor]
    ids: list[str]
    skipped: list[dict[str, str]]


def decode_ahead(
    source: ImageFolder, backbone: Backbone, ids: Iterable[str], workers: int, ahead: int
) -> Generator[Decoded, None, None]:
    """Decode and transform the photos in `workers` threads, in order, never more than `ahead` of the one asked for."""
    transform = backbone.transform

    def load(id: str) -> Decoded:
        try:
            return Decoded(id, transform(source.load(id)))
        except BadImage as bad:
            return Decoded(id, None, bad.reason)

    waiting: deque[Future[Decoded]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as threads:
        try:
            for id in ids:
                waiting.append(threads.submit(load, id))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def encode_stretch(decoded: Iterable[Decoded], backbone: Backbone, dtype: str, batch_size: int) -> Encoded:
    """Encode the photos of one stretch in batches and pack them as one shard holds them.

    A photo whose features are not finite is a bad file; `InsightError` when the features do not fit `dtype`.
    """
    skipped: list[dict[str, str]] = []
    ids: list[str] = []
    parts: list[dict[str, Tensor]] = []

    def good() -> Iterator[tuple[str, Tensor]]:
        for item in decoded:
            if item.image is None:
                skipped.append({"id": item.id, "reason": item.reason})
            else:
                yield item.id, item.image

    images = good()
    while batch := list(islice(images, batch_size)):
        patches, pooled = _features(backbone, torch.stack([image for _, image in batch]))
        finite = torch.isfinite(patches).flatten(1).all(1) & torch.isfinite(pooled).all(1)
        stored, scales = pack(patches[finite], dtype)
        parts.append({"patches": stored, "pooled": pooled[finite]} | ({} if scales is None else {"scales": scales}))
        for (id, _), fine in zip(batch, finite.tolist(), strict=True):
            if fine:
                ids.append(id)
            else:
                skipped.append({"id": id, "reason": f"backbone {backbone.name} gives features that are not finite"})
    tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
    return Encoded(tensors, ids, sorted(skipped, key=lambda entry: entry["id"]))


@torch.inference_mode()
def _features(backbone: Backbone, images: Tensor) -> tuple[Tensor, Tensor]:
    """float32 patches [B, h*w, d] and pooled [B, d] on the CPU."""
    device = next((weight.device for weight in backbone.parameters()), images.device)
    features = backbone.encode_image(images.to(device))
    return features.patches.float().cpu(), features.pooled.float().cpu()
