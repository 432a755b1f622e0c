"""Photos of any size and of several sizes at once, for each family of vision transformers."""

import json

import pytest
import torch

from insight.backbones import Backbone, load
from sae.errors import InsightError

TOWER = {"image_size": 64, "layers": 3, "width": 48, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
FAMILIES = {
    "open_clip, class token": "openclip:insight-sizes/",
    "open_clip, mean of patches": "openclip:insight-sizes-avg/",
    "timm, class token": "timm:test_vit/",
    "timm, registers and mean of patches": "timm:vit_little_patch16_reg1_gap_256/",
}
SIZES = [(64, 64), (32, 96), (64, 64), (16, 16), (96, 48)]


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    for name, extra in (
        ("insight-sizes", {}),
        ("insight-sizes-avg", {"pool_type": "avg", "final_ln_after_pool": True}),
    ):
        config = {"embed_dim": 24, "vision_cfg": {**TOWER, **extra}, "text_cfg": TEXT}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    found = {family: load(name) for family, name in FAMILIES.items()}
    with torch.no_grad():
        for backbone in found.values():
            for parameter in backbone.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_photos_of_several_sizes_are_each_what_it_is_alone(backbones: dict[str, Backbone], family: str) -> None:
    backbone = backbones[family]
    photos = [torch.rand(3, height, width) for height, width in SIZES]
    together = backbone.encode_mixed(photos)
    for photo, found in zip(photos, together, strict=True):
        alone = backbone.encode_image(photo[None])
        assert found.grid == alone.grid == (photo.shape[1] // 16, photo.shape[2] // 16)
        torch.testing.assert_close(found.patches, alone.patches, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.pooled, alone.pooled, atol=1e-4, rtol=1e-4)
    (largest, other) = together[0].patches, together[2].patches
    assert (largest - other).norm() > 0.01 * largest.norm()  # photos of one size are told apart


@pytest.mark.parametrize("family", FAMILIES)
def test_a_photo_does_not_depend_on_its_batch(backbones: dict[str, Backbone], family: str) -> None:
    backbone, images = backbones[family], torch.rand(3, 3, 32, 64)
    whole = backbone.encode_image(images)
    for number, image in enumerate(images):
        alone = backbone.encode_image(image[None])
        torch.testing.assert_close(whole.patches[number], alone.patches[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(whole.pooled[number], alone.pooled[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rectangle_is_cut_in_two_like_a_square(backbones: dict[str, Backbone], family: str) -> None:
    backbone, images = backbones[family], torch.rand(2, 3, 32, 96)
    whole = backbone.encode_image(images)
    part, _ = backbone.suffix(backbone.prefix(images, 1), 1, grid=(2, 6))
    assert part.grid == whole.grid == (2, 6)
    torch.testing.assert_close(part.patches, whole.patches)
    torch.testing.assert_close(part.pooled, whole.pooled)
    with pytest.raises(InsightError, match="12 patches make no square grid; give the grid"):
        backbone.suffix(backbone.prefix(images, 1), 1)
    with pytest.raises(InsightError, match="12 patches are not 4 x 4"):
        backbone.suffix(backbone.prefix(images, 1), 1, grid=(4, 4))


@pytest.mark.parametrize("family", FAMILIES)
def test_mixed_photos_that_are_no_whole_patches_are_refused(backbones: dict[str, Backbone], family: str) -> None:
    with pytest.raises(InsightError, match=r"H and W multiples of 16, found torch.float32 \[1, 3, 60, 64\]"):
        backbones[family].encode_mixed([torch.rand(3, 64, 64), torch.rand(3, 60, 64)])


def test_backbones_without_blocks_take_mixed_photos_size_by_size() -> None:
    backbone = load("timm:test_resnet/")
    photos = [torch.rand(3, 64, 96), torch.rand(3, 64, 64), torch.rand(3, 64, 96)]
    for photo, found in zip(photos, backbone.encode_mixed(photos), strict=True):
        alone = backbone.encode_image(photo[None])
        assert found.grid == alone.grid
        torch.testing.assert_close(found.patches, alone.patches, atol=1e-4, rtol=1e-4)
