"""open_clip models on timm's towers: each family equals its formula in float64, and a patch is a photo of itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from insight.backbones import Backbone
from insight.backbones.openclip import load_openclip
from insight.backbones.openclip.timm_towers import TimmMapTower, TimmTower, tower_class
from sae.errors import InsightError

from ..timm_models import toys as timm_toys
from ..timm_models.forms import EPS, WrittenOutTimm

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


def tower(name: str, pool: str, proj: str | None, side: int = 64) -> dict[str, Any]:
    return {"timm_model_name": name, "timm_pool": pool, "timm_proj": proj, "image_size": side}


ROWS = {
    "siglip": tower("insight_siglip", "map", "none"),
    "siglip-naflex": tower("insight_naflex", "map", "none"),
    "pe-core": tower("insight_pe", "map", None),
    "eva01-post-norm": tower("insight_eva01", "token", None),
    "eva02": tower("insight_eva02", "token", None),
    "mobileclip-b": tower("insight_mobileclip", "token", None),
    "mean": tower("insight_mean", "", "linear"),
    "mean-mlp": tower("insight_mean", "", "mlp"),
}
MAPS = {
    "convnext": tower("test_convnext", "", "linear", 160),
    "convnext-mlp": tower("test_convnext", "", "mlp", 160),
    "convnext-no-projection": tower("test_convnext", "avg", None, 160),
    "swin": tower("insight_swin", "", "linear"),
    "fastvit": tower("insight_fastvit", "avg", None),
}
FAMILIES = {**ROWS, **MAPS}
SIZES = [(64, 64), (32, 96), (16, 16), (80, 48), (32, 128)]  # the last has as many patches as the first
CLOSE = {"atol": 2e-4, "rtol": 2e-4}

Make = Callable[[str], Backbone]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Tiny untrained models by family, with every weight moved off its start: no term is zero or one."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    for family, vision in FAMILIES.items():
        width = 48 if vision["timm_proj"] == "none" else 24
        config = {"embed_dim": width, "vision_cfg": vision, "text_cfg": TEXT}
        (folder / f"insight-timm-{family.replace('siglip', 'sig')}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)

    def build(family: str) -> Backbone:
        backbone = load_openclip(f"insight-timm-{family.replace('siglip', 'sig')}/").freeze()
        disturb(backbone)
        return backbone

    return build


def disturb(backbone: Backbone) -> None:
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for name, buffer in backbone.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += 0.2 * torch.rand_like(buffer)


@pytest.mark.parametrize("family", ROWS)
def test_photos_of_any_size_equal_the_formula_alone_and_together(make: Make, family: str) -> None:
    backbone = make(family)
    form = WrittenOutTimm(backbone.model.visual, ROWS[family]["timm_model_name"])
    photos = [torch.rand(3, height, width) for height, width in SIZES]
    for photo, together in zip(photos, backbone.encode_mixed(photos), strict=True):
        patches, pooled = form(photo)
        for found in (backbone.encode_image(photo[None]), together):
            assert found.grid == (photo.shape[1] // 16, photo.shape[2] // 16)
            torch.testing.assert_close(found.patches[0].double(), patches, **CLOSE)
            torch.testing.assert_close(found.pooled[0].double(), pooled, **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_image_vector_is_the_models_own(make: Make, family: str) -> None:
    import open_clip

    backbone = make(family)
    images = torch.rand(3, 3, backbone.image_size, backbone.image_size)
    found = backbone.encode_image(images)
    fresh = open_clip.create_model(f"insight-timm-{family.replace('siglip', 'sig')}").eval()  # as open_clip leaves it
    fresh.load_state_dict(backbone.model.state_dict())
    own = fresh.encode_image(backbone.normalise_colours(images), normalize=False)
    torch.testing.assert_close(found.pooled, own, **CLOSE)
    assert found.pooled.shape == (3, backbone.dim)
    assert found.patches.shape == (3, backbone.grid[0] * backbone.grid[1], backbone.dim)


@pytest.mark.parametrize("family", [family for family in FAMILIES if not family.startswith(("eva", "mobileclip"))])
def test_a_patch_is_the_image_vector_of_a_photo_that_has_no_other(make: Make, family: str) -> None:
    """The pooling and what follows, given one token or one position alone, gives its dense patch exactly."""
    backbone = make(family)
    visual, images = backbone.model.visual, torch.rand(2, 3, 2 * backbone.patch, 3 * backbone.patch)
    found = backbone.encode_image(images)
    last = pooled_from(visual, backbone, images)
    if family in MAPS:
        axes = (1, 2) if family == "swin" else (2, 3)
        one = [last.narrow(axes[0], row, 1).narrow(axes[1], column, 1) for row in range(2) for column in range(3)]
    else:
        one = [last[:, backbone.n_prefix + number, None] for number in range(6)]
        if backbone.n_prefix and not family.startswith("pe-core"):  # mean pooling leaves out what is not a patch
            one = [torch.cat([last[:, : backbone.n_prefix], token], dim=1) for token in one]
    for number, token in enumerate(one):
        alone = visual.head(visual.trunk.forward_head(token))
        torch.testing.assert_close(found.patches[:, number], alone, atol=1e-5, rtol=1e-4)


def pooled_from(visual: nn.Module, backbone: Backbone, images: Tensor) -> Tensor:
    """What the tower pools: caught on the way into `forward_head`."""
    caught: list[Tensor] = []
    usual = visual.trunk.forward_head

    def catch(x: Tensor, *given: Any, **keywords: Any) -> Tensor:
        caught.append(x)
        return usual(x, *given, **keywords)

    visual.trunk.forward_head = catch
    try:
        backbone.encode_image(images)
    finally:
        visual.trunk.forward_head = usual
    return caught[0]


def test_positions_of_a_map_go_through_norm_and_projection(make: Make) -> None:
    backbone = make("convnext")
    images = torch.rand(2, 3, 96, 64)
    trunk = backbone.model.visual.trunk
    cells = trunk.forward_features(backbone.normalise_colours(images)).double().movedim(1, -1)
    w = {name: value.double() for name, value in backbone.model.visual.state_dict().items()}

    def head(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
        return (normed * w["trunk.head.norm.weight"] + w["trunk.head.norm.bias"]) @ w["head.proj.weight"].T

    found = backbone.encode_image(images)
    assert found.grid == (3, 2)
    torch.testing.assert_close(found.patches.double(), head(cells.reshape(2, 6, -1)), **CLOSE)
    torch.testing.assert_close(found.pooled.double(), head(cells.mean((1, 2))), **CLOSE)


def test_a_map_without_a_norm_after_its_mean_has_patches_whose_mean_is_the_image_vector(make: Make) -> None:
    for family in ("swin", "fastvit"):
        backbone = make(family)
        found = backbone.encode_image(torch.rand(2, 3, 64, 96))
        assert found.grid == (2, 3)
        torch.testing.assert_close(found.patches.mean(1), found.pooled, **CLOSE)
        apart = found.patches - found.patches.mean(1, keepdim=True)
        assert apart.norm() > 1e-3 * found.patches.norm()  # and they are not one vector


@pytest.mark.parametrize("family", ROWS)
def test_cut_in_two_it_gives_the_same_and_its_attention(make: Make, family: str) -> None:
    backbone, images = make(family), torch.rand(2, 3, 32, 64, requires_grad=True)
    whole = backbone.encode_image(images)
    tokens = 8 + backbone.n_prefix
    for block in (0, 1):
        part, attention = backbone.suffix(backbone.prefix(images, block), block, need_attention=True, grid=(2, 4))
        torch.testing.assert_close(part.patches, whole.patches, **CLOSE)
        torch.testing.assert_close(part.pooled, whole.pooled, **CLOSE)
        assert attention is not None
        assert attention.shape == (2, 3, tokens, tokens)
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, tokens))
        gradients = torch.autograd.grad(part.pooled.square().sum(), [attention, images], retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in gradients)
        (gradient,) = torch.autograd.grad(part.patches.square().sum(), [images])
        assert gradient.abs().amax(dim=(0, 1)).min() > 0  # each pixel has a say
    between, _ = backbone.between(backbone.prefix(images, 0), 0, 1, grid=(2, 4))
    torch.testing.assert_close(between, backbone.prefix(images, 1))


def test_rotary_blocks_ask_for_the_grid_of_photos_that_are_not_square(make: Make) -> None:
    backbone = make("eva02")
    z = backbone.prefix(torch.rand(1, 3, 32, 96), 0)
    with pytest.raises(InsightError, match="12 patches make no square grid; give the grid"):
        backbone.between(z, 0, 1)


def test_a_tower_with_a_map_has_no_blocks_to_cut_at(make: Make) -> None:
    backbone = make("convnext")
    with pytest.raises(InsightError, match="no transformer blocks"):
        backbone.prefix(torch.rand(1, 3, 160, 160), 0)
    photos = [torch.rand(3, 64, 96), torch.rand(3, 96, 96), torch.rand(3, 64, 96)]
    for photo, found in zip(photos, backbone.encode_mixed(photos), strict=True):
        torch.testing.assert_close(found.patches, backbone.encode_image(photo[None]).patches, **CLOSE)


def test_texts_are_unit_vectors_in_the_space_of_the_patches(make: Make) -> None:
    backbone = make("siglip")
    found = backbone.encode_text(["a dog", "two cats on a mat"])
    assert found.shape == (2, backbone.dim) == (2, 48)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_a_side_that_is_no_whole_number_of_patches_is_rounded_down_as_the_convolution_does(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SigLIP's 384 pixels in patches of 14: the tower sees 27 x 27 patches, 378 pixels."""
    given = make("siglip")
    monkeypatch.setattr(given.model.visual, "image_size", (70, 70))
    backbone = TimmTower("x/", given.model, None)
    assert (backbone.image_size, backbone.grid) == (64, (4, 4))


def test_a_pooling_of_another_make_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    given = make("siglip")
    for pool in (nn.Identity(), given.model.visual.trunk.attn_pool):
        monkeypatch.setattr(pool, "pos_embed", nn.Parameter(torch.zeros(16, 48)), raising=False)
        monkeypatch.setitem(given.model.visual.trunk._modules, "attn_pool", pool)
        with pytest.raises(InsightError, match="timm tower of class VisionTransformer that gives no dense patches"):
            TimmTower("x/", given.model, None)


@pytest.mark.parametrize(
    ("family", "through"),
    [
        ("siglip", "the attention pooling"),
        ("eva02", "the last block"),
        ("mean", "what follows the mean"),
        ("convnext", "what follows the mean"),
    ],
)
def test_the_description_says_how_patches_are_made(make: Make, family: str, through: str) -> None:
    assert make(family).description.endswith(f"weights untrained; patches: each alone through {through}.")


def test_a_checkpoint_on_this_machine_gives_the_features_of_the_model_that_was_saved(
    make: Make, tmp_path: Path
) -> None:
    for family in ("siglip", "convnext"):
        given = make(family)
        save_file({name: value.clone() for name, value in given.model.state_dict().items()}, tmp_path / "w.safetensors")
        found = load_openclip(f"{given.name.removeprefix('openclip:')}{tmp_path / 'w.safetensors'}").freeze()
        images = torch.rand(2, 3, 64, 96)
        torch.testing.assert_close(found.encode_image(images).patches, given.encode_image(images).patches)


def adds(configs: Any, name: str, vision: dict[str, Any]) -> None:
    import open_clip

    file = configs.mktemp("configs") / f"{name}.json"
    file.write_text(json.dumps({"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT}))
    open_clip.add_model_config(file)


@pytest.mark.parametrize(
    ("vision", "reason"),
    [
        (tower("resnet50", "rot_attn", None), "has a timm tower pooled by rot_attn, which gives no dense patches here"),
        (tower("vit_relpos_small_patch16_224", "avg", None), "neither a plain row of blocks nor with a feature map"),
        (tower("vit_of_tomorrow", "map", None), "vit_of_tomorrow, which timm [0-9.]+ does not know; update it"),
    ],
)
def test_other_towers_are_refused_from_their_settings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, vision: dict[str, Any], reason: str
) -> None:
    import open_clip

    adds(tmp_path_factory, "insight-timm-odd", vision)
    monkeypatch.setattr(open_clip, "create_model", lambda *args, **keywords: pytest.fail("built it"))
    with pytest.raises(InsightError, match=reason) as caught:
        load_openclip("insight-timm-odd/")
    assert "\n" not in str(caught.value)


def test_every_timm_tower_that_open_clip_lists_has_dense_patches_but_one() -> None:
    import open_clip
    import timm

    refused, kinds = [], set()
    for name in open_clip.list_models():
        vision = open_clip.get_model_config(name)["vision_cfg"]
        if "insight" not in name and timm.is_model(vision.get("timm_model_name", "")):
            try:
                kind = tower_class(vision)
                kind.check_config(name, vision)
                kinds.add(kind)
            except InsightError:
                refused.append(name)
    assert refused == ["vit_relpos_medium_patch16_cls_224"]
    assert kinds == {TimmTower, TimmMapTower}


@pytest.mark.parametrize(("name", "pool"), [("insight_siglip", "map"), ("insight_eva02", "token")])
def test_dense_patches_cost_at_most_a_tenth_more_than_the_bare_forward(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, name: str, pool: str
) -> None:
    """In multiplications, counted on a tower of the usual depth and width; without patches it is open_clip's own."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    usual = {"depth": 12, "embed_dim": 384, "num_heads": 6, "mlp_ratio": 4, "img_size": 224}
    monkeypatch.setattr(timm_toys, "ROW", {**timm_toys.ROW, **usual})
    adds(tmp_path_factory, f"insight-timm-usual-{pool}", {**tower(name, pool, None), "image_size": 224})
    backbone = load_openclip(f"insight-timm-usual-{pool}/").freeze()
    images, costs = torch.rand(1, 3, 224, 224), []
    with sdpa_kernel(SDPBackend.MATH):  # which the counter sees into
        for forward in (backbone.model.visual, backbone.encode_image):
            with FlopCounterMode(display=False) as counter:
                forward(images)
            costs.append(counter.get_total_flops())
    assert 1 < costs[1] / costs[0] < 1.1
