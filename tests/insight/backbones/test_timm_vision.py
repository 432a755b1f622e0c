"""timm models as backbones: plain transformers can be cut, others give their last map; none has text."""

import pytest
import torch

from insight.backbones import Backbone, load, weight_sources
from sae.errors import InsightError


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
