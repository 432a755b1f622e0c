"""timm models as backbones: plain transformers can be cut, others give their last map; none has text."""

from typing import Any

import pytest
import torch

from insight.backbones import Backbone, load, load_together, weight_sources
from insight.backbones.layers import encode_together
from sae.errors import InsightError

from ..timm_models import toys as timm_toys  # noqa: F401 (registers its models with timm)

# Rows of blocks of each kind: how many tokens stand before the patches, and the keywords with which timm itself builds
# a model that takes photos of any size.
ROWS: dict[str, tuple[int, dict[str, Any]]] = {
    "insight_siglip": (0, {"dynamic_img_size": True}),  # no class token, attention pooling
    "insight_mobileclip": (3, {"dynamic_img_size": True}),  # class token and registers
    "insight_mean": (1, {"dynamic_img_size": True}),  # registers without a class token
    "insight_eva01": (1, {"dynamic_img_size": True}),
    "insight_eva02": (1, {"dynamic_img_size": True}),  # rotary, one embedding for all blocks
    "insight_pe": (1, {"dynamic_img_size": True}),
    "insight_dinov3": (5, {}),  # rotary with registers, made for any size
    "insight_mixed": (1, {"dynamic_img_size": True}),  # rotary, angles of its own for each block and head
    "insight_naflex": (0, {}),
}
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def photos(backbone: Backbone) -> torch.Tensor:
    return torch.rand(2, 3, backbone.image_size, backbone.image_size)


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return load("timm:vit_tiny_patch16_224/")


def test_a_transformer_gives_its_own_tokens(vit: Backbone) -> None:
    images = photos(vit)
    found = vit.encode_image(images)
    assert (vit.dim, vit.grid, vit.depth, vit.n_prefix) == (192, (14, 14), 12, 1)
    model = vit.model
    tokens = model.forward_features((images - 0.5) / 0.5)  # the colours that this model was trained with
    torch.testing.assert_close(found.patches, tokens[:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.pooled, model.forward_head(tokens, pre_logits=True), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("block", [0, 7, 11])
def test_a_transformer_can_be_cut(vit: Backbone, block: int) -> None:
    images = photos(vit).requires_grad_()
    whole = vit.encode_image(images)
    part, attention = vit.suffix(vit.prefix(images, block), block, need_attention=True)
    torch.testing.assert_close(part.patches, whole.patches, atol=1e-4, rtol=1e-4)
    assert attention is not None
    assert attention.shape == (2, 3, 197, 197)
    gradients = torch.autograd.grad(part.pooled.square().sum(), [attention, images])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_a_transformer_takes_larger_photos(vit: Backbone) -> None:
    assert vit.encode_image(torch.rand(1, 3, 320, 320)).grid == (20, 20)


def disturbed(name: str) -> Backbone:
    backbone = load(f"timm:{name}/")
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return backbone


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_row_gives_timms_own_tokens_at_any_size(name: str) -> None:
    import timm

    backbone, (n_prefix, keywords) = disturbed(name), ROWS[name]
    model = timm.create_model(name, num_classes=0, **keywords).eval()
    model.load_state_dict(backbone.model.state_dict())
    assert (backbone.patch, backbone.grid, backbone.n_prefix) == (16, (4, 4), n_prefix)
    assert backbone.has_class_token == (name not in ("insight_siglip", "insight_mean", "insight_naflex"))
    sizes = [(64, 64), (32, 96), (80, 48)]
    photos_of_sizes = [torch.rand(3, height, width) for height, width in sizes]
    for photo, together in zip(photos_of_sizes, backbone.encode_mixed(photos_of_sizes), strict=True):
        tokens = model.forward_features(backbone.normalise_colours(photo[None]))
        pooled = model.forward_head(tokens, pre_logits=True)
        for found in (backbone.encode_image(photo[None]), together):
            assert found.grid == (photo.shape[1] // 16, photo.shape[2] // 16)
            torch.testing.assert_close(found.patches, tokens[:, n_prefix:], **CLOSE)
            torch.testing.assert_close(found.pooled, pooled, **CLOSE)


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_row_can_be_cut_and_shows_its_attention(name: str) -> None:
    backbone, images = disturbed(name), torch.rand(2, 3, 32, 64, requires_grad=True)
    whole = backbone.encode_image(images)
    part, attention = backbone.suffix(backbone.prefix(images, 1), 1, need_attention=True, grid=(2, 4))
    torch.testing.assert_close(part.patches, whole.patches, **CLOSE)
    torch.testing.assert_close(part.pooled, whole.pooled, **CLOSE)
    assert attention is not None
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:3]))
    gradients = torch.autograd.grad(part.pooled.square().sum(), [attention, images])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_layers_of_rotary_blocks_are_the_same_together_on_rectangles() -> None:
    backbones = load_together(["timm:insight_eva02/@0", "timm:insight_eva02/@1", "timm:insight_eva02/"])
    images = torch.rand(2, 3, 32, 96)
    for backbone, found in zip(backbones, encode_together(backbones, [images] * 3), strict=True):
        alone = backbone.encode_image(images)
        assert found.grid == alone.grid == (2, 6)
        torch.testing.assert_close(found.patches, alone.patches, **CLOSE)


def test_windows_are_masked_for_the_size_that_comes() -> None:
    import timm

    backbone = disturbed("insight_swin")
    model = timm.create_model("insight_swin", num_classes=0, strict_img_size=False).eval()
    model.load_state_dict(backbone.model.state_dict())
    images = torch.rand(2, 3, 96, 128)
    found = backbone.encode_image(images)
    assert found.grid == (3, 4)
    own = model.forward_features(backbone.normalise_colours(images)).flatten(1, 2)
    torch.testing.assert_close(found.patches, own, **CLOSE)


def test_a_hybrid_has_the_patches_of_all_its_strides() -> None:
    """timm's own `patch_size` of such models is that of the feature map, here 1."""
    backbone = load("timm:vit_tiny_r_s16_p8_224/")
    assert (backbone.patch, backbone.grid) == (32, (7, 7))
    assert backbone.encode_image(torch.rand(1, 3, 64, 96)).grid == (2, 3)


def test_a_model_made_for_one_size_says_so() -> None:
    backbone = load("timm:mixer_s32_224/")
    side = backbone.image_size
    with pytest.raises(InsightError, match=rf"does not take photos of {2 * side} x {side} pixels \(.*; give photos of"):
        backbone.encode_image(torch.rand(1, 3, 2 * side, side))


@pytest.mark.parametrize("model", ["crossvit_tiny_240", "pit_ti_224"])
def test_a_model_without_a_grid_of_patches_is_refused(model: str) -> None:
    with pytest.raises(InsightError, match=f"backbone timm:{model}/ gives no grid of patches"):
        load(f"timm:{model}/")


@pytest.mark.parametrize(("model", "grid"), [("resnet18", (7, 7)), ("test_convnext", None), ("mambaout_femto", (7, 7))])
def test_other_models_give_their_last_map(model: str, grid: tuple[int, int] | None) -> None:
    backbone = load(f"timm:{model}/")
    found = backbone.encode_image(photos(backbone))
    height, width = backbone.grid
    assert grid in (None, backbone.grid)
    assert found.patches.shape == (2, height * width, backbone.dim)
    torch.testing.assert_close(found.pooled, found.patches.mean(1))
    with pytest.raises(InsightError, match="no transformer blocks"):
        backbone.prefix(photos(backbone), 0)


def test_rows_of_a_map_come_in_reading_order() -> None:
    """A bright spot at the top right changes most the patches at the top right."""
    backbone = load("timm:resnet18/")
    dark = torch.zeros(1, 3, 224, 224)
    bright = dark.clone()
    bright[..., :64, -64:] = 1
    change = (backbone.encode_image(bright).patches - backbone.encode_image(dark).patches).norm(dim=-1)[0].reshape(7, 7)
    assert change[:3, 4:].mean() > 2 * change[4:, :3].mean()


def test_text_is_refused_with_a_way_out(vit: Backbone) -> None:
    assert not vit.has_text
    with pytest.raises(InsightError, match="train_bridge"):
        vit.encode_text(["a dog"])


def test_the_fingerprint_follows_the_weights(vit: Backbone) -> None:
    again = load("timm:vit_tiny_patch16_224/")
    assert again.fingerprint == vit.fingerprint
    other = load("timm:vit_tiny_patch16_224/")
    with torch.no_grad():
        other.model.norm.bias[3] += 1e-6
    assert other.fingerprint != vit.fingerprint


def test_weights_that_cannot_be_had_end_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(weight_sources, "_answers", lambda endpoint, seconds: False)
    with pytest.raises(InsightError, match="go online once") as caught:
        load("timm:vit_tiny_patch16_224")
    assert "\n" not in str(caught.value)
