"""Pictures larger than an encoder was made for: `FitPatches` keeps a photo's shape, `encode_windows` sees its parts.

An encoder sees a large picture best through windows of the size that it was trained on. They overlap, and a patch that
several windows see gets the mean of what they say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sae.errors import InsightError

from .base import Backbone, DenseFeatures

MAX_PIXELS = 1 << 26  # of a fitted photo: 0.8 GB as floats; only very long and thin photos have more


@dataclass(frozen=True)
class FitPatches:
    """Resize a whole RGB photo (bicubic, antialiased) to [3, H, W] floats in [0, 1], its shape kept up to half a patch.

    The short side becomes `short_side` pixels, both are rounded to multiples of `patch` (at least one). Colours are not
    normalised. For `encode_image`, `encode_mixed` or `encode_windows`: FitPatches(672, backbone.patch).
    """

    short_side: int
    patch: int

    def __post_init__(self) -> None:
        if min(self.short_side, self.patch) < 1:
            raise InsightError(
                f"expected a short side and a patch of at least one pixel, found {self.short_side} and {self.patch}"
            )

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(H, W) of the fitted photo. `InsightError` for one so long and thin that it would not fit into memory."""
        scale = self.short_side / min(width, height) / self.patch
        rows, columns = (max(1, int(side * scale + 0.5)) for side in (height, width))
        if rows * columns * self.patch**2 > MAX_PIXELS:
            raise InsightError(
                f"a photo of {width} × {height} pixels with a short side of {self.short_side} would have more than"
                f" {MAX_PIXELS} pixels; cut it into parts, or choose a smaller short side"
            )
        return rows * self.patch, columns * self.patch

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of the part of the original photo that is kept: all of it."""
        return 0.0, 0.0, float(width), float(height)

    def patch_box(self, width: int, height: int, row: int, column: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom), in pixels of the original photo, of the patch in that row and column."""
        rows, columns = (side // self.patch for side in self.size(width, height))
        if not (0 <= row < rows and 0 <= column < columns):
            raise InsightError(f"expected a patch of the {rows} × {columns} of the photo, found ({row}, {column})")
        down, across = height / rows, width / columns
        return column * across, row * down, (column + 1) * across, (row + 1) * down

    def __call__(self, image: Image.Image) -> Tensor:
        if image.mode != "RGB":
            raise InsightError(f"expected an RGB photo, found mode {image.mode}; convert it with image.convert('RGB')")
        height, width = self.size(*image.size)
        fitted = image.resize((width, height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous().float() / 255


def encode_windows(
    backbone: Backbone, image: Tensor, window: int | None = None, stride: int | None = None, batch_size: int = 8
) -> DenseFeatures:
    """Features of one photo [3, H, W] in [0, 1], seen through overlapping windows: patches [1, h*w, d], pooled [1, d].

    window: side in pixels (default: the encoder's own `image_size`); a photo that is smaller in one direction is seen
    through windows that are smaller there. stride: pixels from one window to the next (default: half a window). The
    last windows are moved back so that they end at the border. Both are multiples of `backbone.patch`, as H and W are.
    A patch's vector is the mean over the windows that see it, `pooled` the mean of the windows' own; windows are
    encoded `batch_size` at a time. `InsightError` for sizes that do not fit.
    """
    patch = backbone.patch
    backbone.check_images(image[None])
    window = backbone.image_size // patch * patch if window is None else window
    stride = max(1, window // patch // 2) * patch if stride is None else stride
    if window < 1 or window % patch or stride % patch or not 0 < stride <= window or batch_size < 1:
        raise InsightError(
            f"backbone {backbone.name} expects a window and a stride that are multiples of {patch}, the stride at most"
            f" the window, and batches of at least 1; found {window}, {stride} and {batch_size}"
        )
    rows, columns = (side // patch for side in image.shape[1:])
    high, wide = min(window // patch, rows), min(window // patch, columns)
    places = [(y, x) for y in _starts(rows, high, stride // patch) for x in _starts(columns, wide, stride // patch)]
    total, seen = None, torch.zeros(rows, columns, 1, device=image.device)
    pooled = []
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        parts = [image[:, y * patch : (y + high) * patch, x * patch : (x + wide) * patch] for y, x in batch]
        features = backbone.encode_image(torch.stack(parts))
        if total is None:
            total = features.patches.new_zeros(rows, columns, features.patches.shape[2])
        for (y, x), patches in zip(batch, features.patches.unflatten(1, (high, wide)), strict=True):
            total[y : y + high, x : x + wide] += patches
            seen[y : y + high, x : x + wide] += 1
        pooled.append(features.pooled)
    assert total is not None  # there is always a window
    return DenseFeatures((total / seen).flatten(0, 1)[None], torch.cat(pooled).mean(0, keepdim=True), (rows, columns))


def _starts(patches: int, window: int, stride: int) -> list[int]:
    """First patch of each window along one side; the last one ends at the border."""
    return [*range(0, patches - window, stride), patches - window]
