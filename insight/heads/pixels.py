"""From logits on the grid of patches to logits of pixels, some classes at a time, and from pixels back to patches.

In: maps of words on the grid, and a way to upsample. Out: classes, scores and margins of pixels; and, for ways that are
linear in the maps, the weight that every patch has in a sum over pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from PIL import Image
from torch import Tensor

from ..upsampling import upsample
from ..upsampling.to_pixels import Upsampler

LINEAR = ("bilinear", "jbu")
"""Ways to upsample under which a pixel's logit is a fixed mixture of its patches' logits."""
NUMBERS_AT_ONCE = 1 << 25
"""Of upsampled maps: 256 MB as float64."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """How a grid of patches becomes a picture of `size` (H, W): by `method`, or not at all (None: the grid itself)."""

    grid: tuple[int, int]
    size: tuple[int, int]
    method: str | Upsampler | None = "bilinear"
    photo: Image.Image | None = None
    """Guide of the methods that need one, of any size."""

    @property
    def linear(self) -> bool:
        """Whether a pixel is a fixed mixture of patches."""
        return self.method is None or self.method in LINEAR

    def enlarge(self, maps: Float64[np.ndarray, "c h w"]) -> Float64[np.ndarray, "c H W"]:
        """Maps of the grid as maps of pixels."""
        if self.method is None:
            return maps
        with torch.no_grad():
            return self._upsample(torch.from_numpy(np.ascontiguousarray(maps))).numpy()

    def enlarge_in_parts(
        self, maps: Float64[np.ndarray, "v h w"], class_of_map: Int64[np.ndarray, " v"]
    ) -> Iterator[tuple[int, Float64[np.ndarray, "c H W"]]]:
        """The largest of each class's maps as pixels, some classes at a time: (number of the first class, maps)."""
        starts = np.flatnonzero(np.diff(class_of_map, prepend=-1))
        ends = np.append(starts[1:], len(class_of_map))
        most = max(1, NUMBERS_AT_ONCE // (self.size[0] * self.size[1])) if self.linear else len(maps)
        first = 0
        while first < len(starts):
            last = first + 1
            while last < len(starts) and ends[last] - starts[first] <= most:
                last += 1
            enlarged = self.enlarge(maps[starts[first] : ends[last - 1]])
            single = ends[last - 1] - starts[first] == last - first
            inner = starts[first:last] - starts[first]
            yield first, enlarged if single else np.maximum.reduceat(enlarged, inner, axis=0)
            first = last

    def patch_weights(self, weights: Float64[np.ndarray, "H W"]) -> Float64[np.ndarray, "h w"]:
        """w with Σ_patches w · map = Σ_pixels weights · enlarge(map) for every map: the adjoint of a linear method.

        It is the derivative of that sum, which torch gives for bilinear and joint bilateral upsampling alike.
        """
        assert self.linear
        if self.method is None:
            return weights
        probe, enlarged = self._probe
        (found,) = torch.autograd.grad(enlarged, probe, torch.from_numpy(weights)[None], retain_graph=True)
        return found[0].numpy()

    def patch_of(self, row: Any, column: Any) -> tuple[Any, Any]:
        """The patch that holds a pixel's middle: numbers, or arrays of them."""
        (h, w), (height, width) = self.grid, self.size
        return (2 * row + 1) * h // (2 * height), (2 * column + 1) * w // (2 * width)

    def _upsample(self, maps: Tensor) -> Tensor:
        maps = maps if self.linear else maps.float()  # learned methods have float32 weights
        found = upsample(maps[None], self.size, guide=self._guide, method=self.method or "bilinear")[0]
        return found.double()

    @cached_property
    def _guide(self) -> Tensor | None:
        if self.method == "bilinear" or self.photo is None:
            return None
        photo = self.photo.resize(self.size[::-1], Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].contiguous()
        return pixels.double() / 255 if self.linear else pixels.float() / 255

    @cached_property
    def _probe(self) -> tuple[Tensor, Tensor]:
        """A map of the grid and its pixels, kept for derivatives."""
        with torch.enable_grad():
            probe = torch.zeros(1, *self.grid, dtype=torch.float64, requires_grad=True)
            return probe, self._upsample(probe)
