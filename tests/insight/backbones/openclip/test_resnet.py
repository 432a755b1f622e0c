"""open_clip's ResNet towers: patches and image vector equal their formulas in float64, whatever the size."""

import json
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from insight.backbones import Backbone, load
from insight.backbones.openclip import load_openclip
from sae.errors import InsightError

from .forms import MEAN, STD, resizing

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 96, "layers": [1, 2, 1, 1], "width": 8, "head_width": 64},
    "text_cfg": TEXT,
}
CHANNELS, HEADS, SIDE = 256, 4, 3
SIZES = [(96, 96), (64, 160), (32, 32)]
CLOSE = {"atol": 2e-4, "rtol": 2e-4}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A tiny untrained CLIP ResNet, with every weight and statistic moved off its start."""
    import open_clip

    file = tmp_path_factory.mktemp("configs") / "insight-resnet.json"
    file.write_text(json.dumps(TINY))
    open_clip.add_model_config(file)
    backbone = load("openclip:insight-resnet/")
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for name, buffer in backbone.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += 0.2 * torch.rand_like(buffer)
    return backbone


class WrittenOut:
    """Patches and image vector of one photo [3, H, W] by plain operations, from the weights alone."""

    def __init__(self, backbone: Backbone) -> None:
        self.w = {name: value.double() for name, value in backbone.model.visual.state_dict().items()}

    def __call__(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        x = ((photo.double() - MEAN) / STD)[None]
        for number, stride in ((1, 2), (2, 1), (3, 1)):
            x = self.normed(f"bn{number}", F.conv2d(x, self.w[f"conv{number}.weight"], stride=stride, padding=1)).relu()
        x = halved(x)
        for stage, blocks in enumerate(TINY["vision_cfg"]["layers"], 1):
            for block in range(blocks):
                x = self.bottleneck(f"layer{stage}.{block}", x, halve=block == 0 and stage > 1)
        cells = x[0].flatten(1).T
        return self.linear("c_proj", self.linear("v_proj", cells)), self.pooled(cells, x.shape[2], x.shape[3])

    def normed(self, name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            self.w[f"{name}.{kind}"].view(-1, 1, 1) for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def bottleneck(self, name: str, x: Tensor, halve: bool) -> Tensor:
        y = self.normed(f"{name}.bn1", F.conv2d(x, self.w[f"{name}.conv1.weight"])).relu()
        y = self.normed(f"{name}.bn2", F.conv2d(y, self.w[f"{name}.conv2.weight"], padding=1)).relu()
        y = self.normed(f"{name}.bn3", F.conv2d(halved(y) if halve else y, self.w[f"{name}.conv3.weight"]))
        if f"{name}.downsample.0.weight" in self.w:
            x = F.conv2d(halved(x) if halve else x, self.w[f"{name}.downsample.0.weight"])
            x = self.normed(f"{name}.downsample.1", x)
        return (x + y).relu()

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w[f"attnpool.{name}.weight"].T + self.w[f"attnpool.{name}.bias"]

    def pooled(self, cells: Tensor, height: int, width: int) -> Tensor:
        positions = self.w["attnpool.positional_embedding"]
        trained = positions[1:].reshape(SIDE, SIDE, CHANNELS)
        places = torch.einsum("ri,cj,ijw->rcw", resizing(SIDE, height), resizing(SIDE, width), trained)
        tokens = torch.cat([cells.mean(0, keepdim=True) + positions[:1], cells + places.reshape(-1, CHANNELS)])
        q, k, v = (self.linear(f"{part}_proj", tokens) for part in "qkv")
        heads, size = [], CHANNELS // HEADS
        for start in range(0, CHANNELS, size):
            scores = (q[:1, start : start + size] @ k[:, start : start + size].T / math.sqrt(size)).softmax(1)
            heads.append(scores @ v[:, start : start + size])
        return self.linear("c_proj", torch.cat(heads, dim=1))[0]


def halved(x: Tensor) -> Tensor:
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


@pytest.mark.parametrize("size", SIZES)
def test_photos_of_any_size_equal_the_formula(tiny: Backbone, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    found = tiny.encode_image(images)
    assert found.grid == (size[0] // 32, size[1] // 32)
    for photo, dense, image_vector in zip(images, found.patches, found.pooled, strict=True):
        patches, pooled = WrittenOut(tiny)(photo)
        torch.testing.assert_close(dense.double() / patches.norm(), patches / patches.norm(), **CLOSE)
        torch.testing.assert_close(image_vector.double() / pooled.norm(), pooled / pooled.norm(), **CLOSE)


def test_the_image_vector_is_the_models_own(tiny: Backbone) -> None:
    images = torch.rand(3, 3, 96, 96)
    own = tiny.model.encode_image(tiny.normalise_colours(images), normalize=False)
    torch.testing.assert_close(tiny.encode_image(images).pooled / own.norm(), own / own.norm(), **CLOSE)
    assert (tiny.dim, tiny.patch, tiny.grid, tiny.image_size, tiny.depth) == (24, 32, (3, 3), 96, 0)


def test_a_patch_does_not_depend_on_where_it_lies(tiny: Backbone) -> None:
    """On a photo of one colour, patches away from the border are the same: positions do not enter."""
    patches = tiny.encode_image(torch.full((1, 3, 512, 512), 0.3)).patches.reshape(16, 16, -1)
    inner = patches[6:10, 6:10].flatten(0, 1)
    assert inner.norm() > 0
    torch.testing.assert_close(inner / inner.norm(), inner[:1].expand_as(inner) / inner.norm(), **CLOSE)


def test_photos_of_several_sizes_are_each_what_it_is_alone(tiny: Backbone) -> None:
    photos = [torch.rand(3, height, width) for height, width in [*SIZES, SIZES[0]]]
    for photo, found in zip(photos, tiny.encode_mixed(photos), strict=True):
        alone = tiny.encode_image(photo[None])
        torch.testing.assert_close(found.patches / alone.patches.norm(), alone.patches / alone.patches.norm(), **CLOSE)
        torch.testing.assert_close(found.pooled / alone.pooled.norm(), alone.pooled / alone.pooled.norm(), **CLOSE)


def test_gradients_reach_the_images_and_texts_share_the_space(tiny: Backbone) -> None:
    images = torch.rand(1, 3, 96, 96, requires_grad=True)
    (gradient,) = torch.autograd.grad(tiny.encode_image(images).patches.square().sum(), [images])
    assert gradient.abs().max() > 0
    assert tiny.encode_text(["a dog"]).shape == (1, tiny.dim)


def test_there_are_no_blocks_and_no_other_way(tiny: Backbone) -> None:
    with pytest.raises(InsightError, match="no transformer blocks"):
        tiny.prefix(torch.rand(1, 3, 96, 96), 0)
    with pytest.raises(InsightError, match=r"H and W multiples of 32, found torch.float32 \[1, 3, 96, 80\]"):
        tiny.encode_image(torch.rand(1, 3, 96, 80))
    with pytest.raises(InsightError, match=r"found \+sclip"):
        load_openclip("insight-resnet/", "sclip")
