"""A window of images → its features as a cache would store them: read, decoded ahead in threads, encoded in batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sae.errors import InsightError

from ...data import BadImage, ImageSource, Item
from ..format.dtypes import pack
from ..reading.tokens import Tokens
from ..writing.ahead import ahead
from ..writing.request import Request
from .image_order import ImageWindow


@dataclass
class _Reader:
    """A part that is being read. next: number of the image that comes next."""

    part: int
    next: int
    items: Iterator[Item]


@dataclass(frozen=True)
class _Decoded:
    """An image at its place in the window: the backbone's input [3, S, S], or the reason why there is none."""

    place: int
    id: str
    image: Tensor | None
    reason: str = ""


class WindowEncoder:
    """Encodes windows one after the other; where the next one goes on in a part, its reading goes on, too.

    skipped: id → reason of images that are bad, filled as they are found; each is said once.
    """

    def __init__(
        self, source: ImageSource, parts: Sequence[list[str]], request: Request, workers: int, skipped: dict[str, str]
    ) -> None:
        self._source, self._parts, self._request, self._workers = source, parts, request, workers
        self._skipped = skipped
        self._readers: dict[int, _Reader] = {}  # by lane

    def encode(self, window: ImageWindow, tokens: Tokens, stopped: Event) -> None:
        """Fill `tokens` with the features of a window, image by image in its order.

        The place of a bad image is taken by the next good one, after the last one by the first. stopped: once it is set
        nobody wants them any more. `InsightError` when no image is good, or the source cannot be read or has changed.
        """
        most = 2 * self._request.batch_size + self._workers
        bad: list[_Decoded] = []
        good: list[_Decoded] = []  # that wait for a full batch
        with closing(ahead(self._decode, enumerate(self._items(window)), self._workers, most)) as images:
            for image in images:
                if stopped.is_set():
                    return
                (bad if image.image is None else good).append(image)
                if len(good) == self._request.batch_size:
                    bad += self._encode_batch(good, tokens)
                    good = []
        if good:
            bad += self._encode_batch(good, tokens)
        if bad:
            self._replace(sorted(bad, key=lambda image: image.place), tokens)

    def _items(self, window: ImageWindow) -> Iterator[Item]:
        for lane, runs in enumerate(window.lanes):
            for part, first, count in runs:
                reader = self._readers.get(lane)
                if reader is None or (reader.part, reader.next) != (part, first):
                    reader = _Reader(part, first, self._source.read(self._parts[part], first))
                    self._readers[lane] = reader
                for _ in range(count):
                    item = next(reader.items, None)
                    if item is None:
                        raise InsightError(
                            f"{self._source.place}: part {' '.join(self._parts[part])[:80]} has fewer images than when"
                            " it was opened; give the same command again when it does not change any more"
                        )
                    reader.next += 1
                    yield item

    def _decode(self, entry: tuple[int, Item]) -> _Decoded:
        place, item = entry
        try:
            return _Decoded(place, item.id, self._request.backbone.transform(item.load()))
        except BadImage as bad:
            return _Decoded(place, item.id, None, bad.reason)

    def _encode_batch(self, images: list[_Decoded], tokens: Tokens) -> list[_Decoded]:
        """Put the features of good images at their places; those whose features are not finite are bad after all."""
        request = self._request
        inputs = torch.stack([image.image for image in images if image.image is not None]).to(request.device)
        try:
            with torch.inference_mode():
                patches = request.backbone.encode_image(inputs).patches.float()
        except Exception as error:
            said = (str(error).splitlines() or [""])[0][:200]
            raise InsightError(
                f"backbone {request.backbone.name}: a batch of {len(images)} images (first: {images[0].id}) failed"
                f" ({type(error).__name__}: {said}); a smaller batch of images takes less memory"
            ) from error
        finite = torch.isfinite(patches).flatten(1).all(1).cpu()
        stored, scales = pack(patches.cpu()[finite], request.dtype)
        places = torch.tensor([image.place for image in images])[finite]
        _by_image(tokens.stored, request.form.tokens)[places] = stored
        if tokens.scales is not None and scales is not None:
            _by_image(tokens.scales, request.form.tokens)[places] = scales
        reason = f"backbone {request.backbone.name} gives features that are not finite"
        return [_Decoded(images[i].place, images[i].id, None, reason) for i in (~finite).nonzero().flatten().tolist()]

    def _replace(self, bad: list[_Decoded], tokens: Tokens) -> None:
        t = self._request.form.tokens
        places = np.array([image.place for image in bad])
        good = np.setdiff1d(np.arange(len(tokens.stored) // t), places)
        if not len(good):
            raise InsightError(
                f"{self._source.place}: expected images, found {len(bad)} together of which none can be used (first:"
                f" {bad[0].id}: {bad[0].reason})"
            )
        instead = good[np.searchsorted(good, places) % len(good)]
        for tensor in (tokens.stored, tokens.scales):
            if tensor is not None:
                _by_image(tensor, t)[places] = _by_image(tensor, t)[instead]
        for image in bad:
            if image.id not in self._skipped:
                self._skipped[image.id] = image.reason
                tqdm.write(f"{image.id}: {image.reason}; another image takes its place", file=sys.stderr)


def _by_image(tensor: Tensor, tokens: int) -> Tensor:
    """A tensor with a row a token as one with a row an image."""
    return tensor.view(-1, tokens, *tensor.shape[1:])
