"""Joint bilateral upsampling against its formula in loops, and what it is for: edges."""

import math
import random

import pytest
import torch
from torch import Tensor

from insight.upsampling import joint_bilateral, upsample


def patch_colours(guide: Tensor, h: int, w: int) -> list[list[Tensor]]:
    """Mean colour [3] of the pixels that touch each patch."""
    _, height, width = guide.shape
    rows = [guide[:, i * height // h : -(-(i + 1) * height // h)] for i in range(h)]
    return [[row[:, :, j * width // w : -(-(j + 1) * width // w)].mean((1, 2)) for j in range(w)] for row in rows]


def written_out(maps: Tensor, guide: Tensor, radius: int, spatial: float, colour: float) -> Tensor:
    """The paper's sum in float64, photo by photo, pixel by pixel and patch by patch."""
    _, _, h, w = maps.shape
    _, _, height, width = guide.shape
    found = maps.new_zeros(*maps.shape[:2], height, width)
    for b, photo in enumerate(guide):
        colours = patch_colours(photo, h, w)
        for i in range(height):
            for j in range(width):
                y, x = (i + 0.5) * h / height, (j + 0.5) * w / width
                total, mixed = 0.0, torch.zeros(maps.shape[1], dtype=maps.dtype)
                for r in range(h):
                    for c in range(w):
                        if abs(r - math.floor(y)) > radius or abs(c - math.floor(x)) > radius:
                            continue
                        distance = (y - 0.5 - r) ** 2 + (x - 0.5 - c) ** 2
                        difference = float((photo[:, i, j] - colours[r][c]).square().sum())
                        weight = math.exp(-distance / (2 * spatial**2)) * math.exp(-difference / (2 * colour**2))
                        total, mixed = total + weight, mixed + weight * maps[b, :, r, c]
                found[b, :, i, j] = mixed / total
    return found


# Of 11 pixels over 4 patches, the middle one's centre lies on a border; it belongs to the patch behind it.
@pytest.mark.parametrize(("h", "w", "height", "width"), [(3, 4, 12, 8), (4, 3, 11, 13), (1, 5, 7, 10), (5, 1, 5, 1)])
def test_it_is_the_formula(h: int, w: int, height: int, width: int) -> None:
    maps = torch.randn(2, 3, h, w, dtype=torch.float64)
    guide = torch.rand(2, 3, height, width, dtype=torch.float64)
    settings = (random.choice([1, 2]), random.uniform(0.4, 2), random.uniform(0.2, 1))
    expected = written_out(maps, guide, *settings)
    radius, spatial, colour = settings
    found = joint_bilateral(maps, guide, radius=radius, spatial_sigma=spatial, range_sigma=colour)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    single = joint_bilateral(maps.float(), guide.float(), radius=radius, spatial_sigma=spatial, range_sigma=colour)
    torch.testing.assert_close(single.double(), expected, atol=1e-3, rtol=1e-3)


def test_bands_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, guide = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 23, 17)
    whole = joint_bilateral(maps, guide)
    monkeypatch.setattr("insight.upsampling.bilateral.WEIGHTS_AT_ONCE", 2500)
    torch.testing.assert_close(joint_bilateral(maps, guide), whole, atol=1e-6, rtol=1e-6)


def test_colours_unlike_any_patch_still_give_a_mixture() -> None:
    """All weights would underflow in single precision: every colour of the patches is ten sigmas and more away."""
    maps = torch.randn(1, 2, 3, 3)
    guide = torch.zeros(1, 3, 12, 12)
    guide[:, :, ::2] = 1  # rows black and white: each patch is grey
    found = joint_bilateral(maps, guide, range_sigma=0.02)
    assert found.isfinite().all()
    assert found.amin() >= maps.amin() - 1e-5
    assert found.amax() <= maps.amax() + 1e-5


def test_an_edge_of_the_photo_is_an_edge_of_the_maps() -> None:
    """A step between two areas, coarse patches on either side: bilinear blurs it over a patch, jbu does not."""
    side, patch = 8, 8
    guide = torch.zeros(1, 3, side * patch, side * patch)
    guide[..., side * patch // 2 :] = 0.8
    maps = torch.zeros(1, 1, side, side)
    maps[..., side // 2 :] = 1
    truth = guide[:, :1] / 0.8
    wrong = {
        method: (upsample(maps, (64, 64), guide=guide, method=method) - truth).abs().sum(-1).mean().item()
        for method in ("bilinear", "jbu")
    }
    assert wrong["bilinear"] == pytest.approx(patch / 4, rel=1e-3)  # a triangle on either side, patch/2 wide
    assert wrong["jbu"] < 0.01


def test_gradients_reach_maps_and_guide() -> None:
    maps = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    guide = torch.rand(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, g: joint_bilateral(m, g, range_sigma=0.5), (maps, guide))
