"""From decoded images to what shards hold: one forward pass a batch, for all caches that want its images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sae.errors import InsightError

from ..backbones import DenseFeatures, encode_together
from .batches import Batch, Seen
from .decoding import Decoded
from .dtypes import pack
from .positions import kept_positions
from .request import Request


def encode(photos: Sequence[Decoded], requests: Sequence[Request]) -> list[Batch]:
    """The batch that these images, good and bad, add to the shard of each cache.

    An image whose features are not finite is bad. `InsightError` when the encoder fails, the device has no memory left
    or the features do not fit the dtype.
    """
    good = [photo for photo in photos if not photo.reason]
    if not good:
        return [_pack(request, photos, good, None) for request in requests]
    try:
        with torch.inference_mode():
            features = _features(good, requests)
            return [_pack(*each) for each in ((r, photos, good, f) for r, f in zip(requests, features, strict=True))]
    except InsightError:
        raise
    except Exception as error:
        raise _failure(error, requests, good) from error


def _features(good: Sequence[Decoded], requests: Sequence[Request]) -> list[DenseFeatures]:
    """Of each request's backbone; backbones that see the same pixels on the same device get the same tensor."""
    inputs: dict[tuple[int, torch.device], Tensor] = {}
    for request in requests:
        size, device = request.backbone.image_size, request.device
        if (size, device) not in inputs:
            inputs[size, device] = torch.stack([photo.images[size] for photo in good]).to(device)
    return encode_together(
        [request.backbone for request in requests],
        [inputs[request.backbone.image_size, request.device] for request in requests],
    )


def _pack(
    request: Request, photos: Sequence[Decoded], good: Sequence[Decoded], features: DenseFeatures | None
) -> Batch:
    form, next_ = request.form, photos[-1].photo.next
    reasons = {id(photo): photo.reason for photo in photos if photo.reason}
    tensors: dict[str, Tensor] = {}
    if features is not None:
        patches, pooled = features.patches.float(), features.pooled.float()
        finite = torch.isfinite(patches).flatten(1).all(1) & torch.isfinite(pooled).all(1)
        fine = finite.tolist()
        if form.has_positions:
            positions = [kept_positions(p.photo.item.id, request.grid_size, form.tokens, request.seed) for p in good]
            tensors["positions"] = torch.from_numpy(np.stack(positions))
            kept = tensors["positions"].to(patches.device, torch.int64)
            patches = patches.gather(1, kept[..., None].expand(-1, -1, form.dim))
        if form.has_classes:
            tensors["classes"] = _classes(request, good, tensors.get("positions"))
        if not all(fine):
            patches, pooled = patches[finite], pooled[finite]
            tensors = {name: tensor[finite.cpu()] for name, tensor in tensors.items()}
            reason = f"backbone {request.backbone.name} gives features that are not finite"
            reasons |= {id(photo): reason for photo, is_fine in zip(good, fine, strict=True) if not is_fine}
        stored, scales = pack(patches, request.dtype)
        tensors |= {"patches": stored.cpu(), "pooled": pooled.cpu()}
        if scales is not None:
            tensors["scales"] = scales.cpu()
    return Batch(_seen(photos, reasons), tensors, next_)


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


def _failure(error: Exception, requests: Sequence[Request], good: Sequence[Decoded]) -> InsightError:
    names = " and ".join(dict.fromkeys(request.backbone.name for request in requests))
    batch = f"backbone {names}: a batch of {len(good)} images (first: {good[0].photo.item.id})"
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return InsightError(
            f"{batch} does not fit into the memory of {requests[0].device}; free some and run the same command again:"
            " it goes on where it stopped; or begin in another folder with a lower batch_size"
        )
    said = (str(error).splitlines() or [""])[0][:200]
    return InsightError(
        f"{batch} failed ({type(error).__name__}: {said}); what was encoded before is kept: put it right and run the"
        " same command again"
    )
