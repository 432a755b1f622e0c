"""From decoded images to what shards hold: one forward pass a batch, for all caches that want its images.

In three steps that may run in threads of their own, so that the encoder need not wait: `gather` the pixels of a batch,
pass them `forward`, `pack` what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from ...backbones import DenseFeatures, encode_together
from ..format.dtypes import pack as pack_vectors
from ..format.positions import kept_positions
from .batches import Batch, Seen
from .decoding import Decoded
from .request import Request


@dataclass(frozen=True)
class Gathered:
    """Images that are encoded together, good and bad. inputs: the good ones' pixels [B, 3, S, S] for each size and
    device that the requests' backbones want."""

    photos: Sequence[Decoded]
    good: Sequence[Decoded]
    requests: Sequence[Request]
    inputs: dict[tuple[int, torch.device], Tensor]


@dataclass(frozen=True)
class Encoded:
    """What the backbones see in a batch, on their devices; no features if no image is good."""

    batch: Gathered
    features: Sequence[DenseFeatures]


def gather(photos: Sequence[Decoded], requests: Sequence[Request]) -> Gathered:
    """The batch of these images, not on the device yet."""
    good = [photo for photo in photos if not photo.reason]
    inputs: dict[tuple[int, torch.device], Tensor] = {}
    for request in requests if good else ():
        size, device = request.backbone.image_size, request.device
        if (size, device) not in inputs:
            stacked = torch.stack([photo.images[size] for photo in good])
            inputs[size, device] = stacked.pin_memory() if device.type == "cuda" else stacked
    return Gathered(photos, good, requests, inputs)


def forward(batch: Gathered) -> Encoded:
    """Encode a batch; backbones that see the same pixels on the same device are given the same tensor.

    `InsightError` when an encoder fails or its device has no memory left.
    """
    if not batch.good:
        return Encoded(batch, [])
    with _explained(batch), torch.inference_mode():
        inputs = {key: tensor.to(key[1], non_blocking=True) for key, tensor in batch.inputs.items()}
        pixels = [inputs[request.backbone.image_size, request.device] for request in batch.requests]
        return Encoded(batch, encode_together([request.backbone for request in batch.requests], pixels))


def pack(encoded: Encoded) -> list[Batch]:
    """What the images add to the shard of each cache. An image whose features are not finite is bad.

    `InsightError` as of `forward`, whose work may go on until now, or when the features do not fit the dtype.
    """
    batch = encoded.batch
    if not batch.good:
        return [_batch(batch, {}, {}) for _ in batch.requests]
    with _explained(batch), torch.inference_mode():
        return [_pack(batch, request, each) for request, each in zip(batch.requests, encoded.features, strict=True)]


def _pack(batch: Gathered, request: Request, features: DenseFeatures) -> Batch:
    form, good = request.form, batch.good
    patches, pooled = features.patches.float(), features.pooled.float()
    tensors: dict[str, Tensor] = {}
    finite = torch.isfinite(patches.sum((1, 2)) + pooled.sum(1))  # a sum is if all are, and far quicker
    if form.has_positions:
        positions = [kept_positions(p.photo.item.id, request.grid_size, form.tokens, request.seed) for p in good]
        tensors["positions"] = torch.from_numpy(np.stack(positions))
        kept = tensors["positions"].to(patches.device, torch.int64)
        patches = patches.gather(1, kept[..., None].expand(-1, -1, form.dim))
    if form.has_classes:
        tensors["classes"] = _classes(request, good, tensors.get("positions"))
    fine = finite.tolist()
    if not all(fine):
        patches, pooled = patches[finite], pooled[finite]
        tensors = {name: tensor[finite.cpu()] for name, tensor in tensors.items()}
    stored, scales = pack_vectors(patches, request.dtype)
    tensors |= {"patches": stored.cpu(), "pooled": pooled.cpu()} | ({} if scales is None else {"scales": scales.cpu()})
    reason = f"backbone {request.backbone.name} gives features that are not finite"
    return _batch(batch, tensors, {id(photo): reason for photo, is_fine in zip(good, fine, strict=True) if not is_fine})


def _batch(batch: Gathered, tensors: dict[str, Tensor], not_finite: dict[int, str]) -> Batch:
    reasons = not_finite | {id(photo): photo.reason for photo in batch.photos if photo.reason}
    return Batch(_seen(batch.photos, reasons), tensors, batch.photos[-1].photo.next)


def _seen(photos: Sequence[Decoded], reasons: dict[int, str]) -> Seen:
    seen = Seen()
    for decoded in photos:
        item = decoded.photo.item
        if id(decoded) in reasons:
            seen.skipped.append({"id": item.id, "reason": reasons[id(decoded)]})
        else:
            seen.ids.append(item.id)
            seen.labels.append(item.label)
            seen.splits.append(item.split)
    return seen


def _classes(request: Request, good: Sequence[Decoded], positions: Tensor | None) -> Tensor:
    """int16 [n, t]: the classes of the patches that are kept, -1 for images without a mask."""
    none = np.full(request.grid_size, -1, dtype=np.int16)
    classes = torch.from_numpy(np.stack([photo.classes.get(request.backbone.grid, none) for photo in good]))
    return classes if positions is None else classes.gather(1, positions.long())


@contextmanager
def _explained(batch: Gathered) -> Iterator[None]:
    """Whatever an encoder raises becomes an `InsightError` that says what to do."""
    names = " and ".join(dict.fromkeys(request.backbone.name for request in batch.requests))
    what = f"backbone {names}: a batch of {len(batch.good)} images (first: {batch.good[0].photo.item.id})"
    try:
        yield
    except InsightError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise InsightError(
            f"{what} does not fit into the memory of {batch.requests[0].device}; free some and run the same command"
            " again: it goes on where it stopped; or begin in another folder with a lower batch_size"
        ) from error
    except Exception as error:
        said = (str(error).splitlines() or [""])[0][:200]
        raise InsightError(
            f"{what} failed ({type(error).__name__}: {said}); what was encoded before is kept: put it right and run the"
            " same command again"
        ) from error
