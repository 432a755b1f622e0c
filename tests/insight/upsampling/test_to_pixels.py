"""What holds for every way from patches to pixels, and what is refused."""

import random

import pytest
import torch
from torch import Tensor

from insight.upsampling import upsample
from sae.errors import InsightError

PLAIN = ["bilinear", "jbu"]


def sizes() -> tuple[int, int, int, int]:
    """h, w and an H, W that need not be multiples of them."""
    h, w = random.randint(1, 6), random.randint(1, 6)
    return h, w, random.randint(h, 31), random.randint(w, 31)


def bilinear_written_out(maps: Tensor, height: int, width: int) -> Tensor:
    """Each pixel from its centre's place among the centres of the patches, in loops."""
    _, _, h, w = maps.shape
    found = maps.new_zeros(*maps.shape[:2], height, width)
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = min(int(y), max(h - 2, 0)), min(int(x), max(w - 2, 0))
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            upper = maps[..., top, left] * (1 - (x - left)) + maps[..., top, right] * (x - left)
            lower = maps[..., bottom, left] * (1 - (x - left)) + maps[..., bottom, right] * (x - left)
            found[..., i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return found


def test_bilinear_is_the_formula() -> None:
    for _ in range(5):
        h, w, height, width = sizes()
        maps = torch.randn(2, 3, h, w, dtype=torch.float64)
        expected = bilinear_written_out(maps, height, width)
        torch.testing.assert_close(upsample(maps, (height, width)), expected, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(upsample(maps.float(), (height, width)).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", PLAIN)
def test_constant_maps_stay_constant_and_nothing_overshoots(method: str) -> None:
    for _ in range(5):
        h, w, height, width = sizes()
        guide = torch.rand(2, 3, height, width)
        level = torch.randn(2, 4, 1, 1)
        flat = upsample(level.expand(2, 4, h, w), (height, width), guide=guide, method=method)
        torch.testing.assert_close(flat, level.expand(2, 4, height, width), atol=1e-5, rtol=1e-5)
        maps = torch.randn(2, 4, h, w)
        found = upsample(maps, (height, width), guide=guide, method=method)
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        assert ((found >= low - 1e-5) & (found <= high + 1e-5)).all()


@pytest.mark.parametrize("method", PLAIN)
def test_a_grid_of_the_same_size_keeps_what_a_sharp_guide_tells_apart(method: str) -> None:
    maps = torch.randn(1, 5, 4, 6)
    guide = torch.linspace(0, 1, 24)[torch.randperm(24)].reshape(1, 1, 4, 6).expand(1, 3, 4, 6) * 50
    torch.testing.assert_close(upsample(maps, (4, 6), guide=guide, method=method), maps, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", PLAIN)
def test_the_type_of_the_maps_is_kept(method: str, dtype: torch.dtype) -> None:
    found = upsample(torch.randn(1, 2, 3, 3).to(dtype), (7, 8), guide=torch.rand(1, 3, 7, 8), method=method)
    assert found.dtype == dtype
    assert found.shape == (1, 2, 7, 8)


def test_a_function_is_a_method_too() -> None:
    maps, guide = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 8, 8)
    found = upsample(maps, (8, 8), guide=guide, method=lambda m, g: m.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.equal(found[:, :, 5, 2], maps[:, :, 2, 1])
    with pytest.raises(InsightError, match=r"asked for maps \[2, 3, 8, 8\] and gave \[2, 3, 4, 4\]"):
        upsample(maps, (8, 8), guide=guide, method=lambda m, g: m)


@pytest.mark.parametrize(
    ("maps", "size", "guide", "method", "reason"),
    [
        (torch.zeros(3, 4, 4), (8, 8), None, "bilinear", r"float maps \[B, C, h, w\]"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), (8, 8), None, "bilinear", "float maps"),
        (torch.zeros(1, 3, 0, 4), (8, 8), None, "bilinear", "float maps"),
        (torch.zeros(1, 3, 4, 4), (0, 8), None, "bilinear", "at least one pixel"),
        (torch.zeros(1, 3, 4, 4), (8, 8), None, "jbu", "needs the photo as a guide.*found none"),
        (torch.zeros(1, 3, 4, 4), (8, 8), torch.zeros(1, 3, 8, 9), "jbu", r"found torch.float32 \[1, 3, 8, 9\]"),
        (torch.zeros(1, 3, 4, 4), (8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "jbu", "uint8"),
        (torch.zeros(1, 3, 4, 4), (8, 8), None, "bicubic", "expected bilinear, jbu, anyup"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    maps: Tensor, size: tuple[int, int], guide: Tensor | None, method: str, reason: str
) -> None:
    with pytest.raises(InsightError, match=reason) as caught:
        upsample(maps, size, guide=guide, method=method)
    assert "\n" not in str(caught.value)
