"""Large photos through windows, against one window at a time; photos fitted to whole patches."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from insight.backbones import Backbone, load
from insight.backbones.base import DenseFeatures
from insight.backbones.sliding import FitPatches, encode_windows
from sae.errors import InsightError


class Colours(Backbone):
    """Patches of 4 pixels; a patch's vector is its mean colour and the mean colour of the photo that it stands in."""

    name, dim, patch, image_size, grid, depth, fingerprint = "colours", 6, 4, 16, (4, 4), 0, "none"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        self.seen.append(tuple(images.shape))
        means = torch.nn.functional.avg_pool2d(images, 4).flatten(2).mT
        whole = images.mean((2, 3))
        patches = torch.cat([means, whole[:, None].expand_as(means)], dim=2)
        return DenseFeatures(patches, torch.cat([whole, whole**2], dim=1), self.grid_for(images))


def covering(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one side, in pixels: every stride, the last one where it still fits."""
    window = min(window, side)
    starts = [start for start in range(0, side, stride) if start + window <= side]
    return starts if starts[-1] + window == side else [*starts, side - window]


def one_by_one(backbone: Backbone, image: Tensor, window: int, stride: int) -> tuple[Tensor, Tensor]:
    """For each patch the list of what the windows that hold it say, averaged at the end in float64."""
    _, height, width = image.shape
    said: dict[tuple[int, int], list[Tensor]] = {}
    pooled = []
    for top, left in itertools.product(covering(height, window, stride), covering(width, window, stride)):
        view = image[:, top : top + window, left : left + window]
        features = backbone.encode_image(view[None])
        pooled.append(features.pooled[0].double())
        columns = view.shape[2] // backbone.patch
        for number, vector in enumerate(features.patches[0].double()):
            place = (top // backbone.patch + number // columns, left // backbone.patch + number % columns)
            said.setdefault(place, []).append(vector)
    return torch.stack([torch.stack(said[place]).mean(0) for place in sorted(said)]), torch.stack(pooled).mean(0)


@pytest.mark.parametrize(
    ("height", "width", "window", "stride", "batch_size"),
    [
        (40, 24, 16, 8, 8),
        (28, 44, 16, 12, 1),
        (36, 20, 12, 4, 5),
        (8, 40, 16, 8, 3),
        (16, 16, 16, 4, 8),
        (4, 4, 4, 4, 2),
    ],
)
def test_each_patch_is_the_mean_of_the_windows_that_see_it(
    height: int, width: int, window: int, stride: int, batch_size: int
) -> None:
    backbone, image = Colours(), torch.rand(3, height, width)
    patches, pooled = one_by_one(backbone, image, window, stride)
    found = encode_windows(backbone, image, window, stride, batch_size)
    assert found.grid == (height // 4, width // 4)
    torch.testing.assert_close(found.patches.double(), patches[None], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooled.double(), pooled[None], atol=1e-5, rtol=1e-5)
    assert all(shape[0] <= batch_size for shape in backbone.seen)


@pytest.mark.parametrize("name", ["timm:test_vit/", "small"])
def test_real_encoders_take_large_photos(name: str) -> None:
    backbone = load(name)
    p, side = backbone.patch, backbone.image_size
    image = torch.rand(3, side + 3 * p, side // p // 2 * p)
    found = encode_windows(backbone, image, stride=side // p * p)
    patches, pooled = one_by_one(backbone, image, side, side // p * p)
    scale = patches.abs().max()
    torch.testing.assert_close(found.patches.double() / scale, patches[None] / scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.pooled.double() / scale, pooled[None] / scale, atol=1e-4, rtol=0)


def test_windows_are_of_the_encoders_size_and_overlap_by_half() -> None:
    backbone = Colours()
    encode_windows(backbone, torch.rand(3, 16, 32))
    assert backbone.seen == [(3, 3, 16, 16)]
    backbone.image_size = 18  # not a multiple of the patch, as of some SigLIP towers: the next smaller one is taken
    encode_windows(backbone, torch.rand(3, 20, 16))
    assert backbone.seen[1:] == [(2, 3, 16, 16)]


def test_one_window_is_the_encoder_itself() -> None:
    backbone, image = Colours(), torch.rand(3, 16, 12)
    assert torch.equal(encode_windows(backbone, image).patches, backbone.encode_image(image[None]).patches)


@pytest.mark.parametrize(
    ("shape", "window", "stride", "batch_size"),
    [((3, 18, 16), 16, 8, 8), ((1, 16, 16), 16, 8, 8), ((3, 0, 16), 16, 8, 8), ((3, 16, 16), 10, 8, 8),
     ((3, 16, 16), 8, 12, 8), ((3, 16, 16), 16, 6, 8), ((3, 16, 16), 16, 0, 8), ((3, 16, 16), 0, 4, 8),
     ((3, 16, 16), 16, 8, 0), ((1, 3, 16, 16), 16, 8, 8)],
)  # fmt: skip
def test_sizes_that_do_not_fit_end_in_one_line(
    shape: tuple[int, ...], window: int, stride: int, batch_size: int
) -> None:
    with pytest.raises(InsightError, match=r"multiples of 4") as caught:
        encode_windows(Colours(), torch.zeros(shape), window, stride, batch_size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("photo", "short_side", "size"),
    [((640, 480), 224, (224, 294)), ((480, 640), 224, (294, 224)), ((333, 1000), 112, (336, 112)),
     ((3, 1), 5, (14, 14)), ((14, 28), 14, (28, 14)), ((1, 1), 10, (14, 14))],
)  # fmt: skip
def test_photos_keep_their_shape_in_whole_patches(
    photo: tuple[int, int], short_side: int, size: tuple[int, int]
) -> None:
    width, height = photo
    noise = np.random.default_rng().integers(0, 256, (height, width, 3), dtype=np.uint8)
    fit = FitPatches(short_side, 14)
    found = fit(Image.fromarray(noise))
    assert fit.size(width, height) == tuple(found.shape[1:]) == size
    assert found.dtype == torch.float32
    assert 0 <= found.min() <= found.max() <= 1
    assert fit.box(width, height) == (0, 0, width, height)


def test_a_patch_lies_where_its_box_says() -> None:
    fit, photo = FitPatches(28, 7), Image.new("RGB", (160, 80))  # 4 × 8 patches of 20 × 20 pixels of the photo
    assert fit.patch_box(160, 80, 2, 5) == (100, 40, 120, 60)
    photo.paste((255, 255, 255), (100, 40, 120, 60))
    means = torch.nn.functional.avg_pool2d(fit(photo), 7)[0]
    assert divmod(int(means.argmax()), 8) == (2, 5)
    assert means[2, 5] > 0.9
    assert means.sum() - means[2, 5] < 0.5
    for row, column in ((4, 0), (0, 8), (-1, 0)):
        with pytest.raises(InsightError, match="of the 4 × 8"):
            fit.patch_box(160, 80, row, column)


def test_fitting_refuses_what_it_cannot_do() -> None:
    with pytest.raises(InsightError, match="mode L"):
        FitPatches(28, 7)(Image.new("L", (20, 20)))
    with pytest.raises(InsightError, match="at least one pixel"):
        FitPatches(0, 7)
    with pytest.raises(InsightError, match="cut it into parts"):
        FitPatches(224, 14)(Image.new("RGB", (2000, 1)))
