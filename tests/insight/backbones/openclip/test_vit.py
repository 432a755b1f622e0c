"""open_clip's own towers: each way of each family equals its formula in float64, the image vector is open_clip's."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from insight.backbones import Backbone
from insight.backbones.openclip import load_openclip
from sae.errors import InsightError

from .forms import WrittenOut

TOWER = {"image_size": 64, "layers": 3, "width": 48, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
CLIPA = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
POOLER = {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 9, "output_tokens": True}
COCA = {"custom_text": True, "multimodal_cfg": TEXT, "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True}}
PLAIN_FAMILIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "quick": {"quick_gelu": True},
    "scaled": {"vision_cfg": {"ls_init_value": 0.3, "mlp_ratio": 2.5}},
    "clipa": {"vision_cfg": CLIPA},
    "mean": {"vision_cfg": {"pool_type": "avg", "norm_kwargs": {"eps": 1e-3}}},
    "fixed-places": {"vision_cfg": {"pos_embed_type": "sin_cos_2d", "patch_dropout": 0.5}},
    "coca-base": {"vision_cfg": {"output_tokens": True}, **COCA},
}
POOLER_FAMILIES: dict[str, dict[str, Any]] = {
    "coca": {"vision_cfg": POOLER, **COCA},
    "coca-of-one-width": {"embed_dim": 48, "vision_cfg": POOLER, **COCA},
    "coca-mean": {"vision_cfg": {**POOLER, "pool_type": "avg"}, **COCA},
}
FAMILIES = {**PLAIN_FAMILIES, **POOLER_FAMILIES}
WAYS = ["value", "tokens", "sclip", "clearclip"]
CASES = [
    *((family, way) for family in PLAIN_FAMILIES for way in WAYS),
    *((family, "value") for family in POOLER_FAMILIES),
]
SIZES = [(64, 64), (32, 96), (16, 16), (80, 48)]
CLOSE = {"atol": 2e-4, "rtol": 2e-4}

Make = Callable[[str, str], Backbone]


def config_of(family: str) -> dict[str, Any]:
    given = FAMILIES[family]
    return {"embed_dim": 24, "text_cfg": TEXT, **given, "vision_cfg": {**TOWER, **given.get("vision_cfg", {})}}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Tiny untrained models by family and way, with every weight moved off its start: no term is zero or one."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    for family in FAMILIES:
        (folder / f"insight-vit-{family}.json").write_text(json.dumps(config_of(family)))
    open_clip.add_model_config(folder)

    def build(family: str, way: str) -> Backbone:
        backbone = load_openclip(f"insight-vit-{family}/", way).freeze()
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return backbone

    return build


@pytest.mark.parametrize(("family", "way"), CASES)
def test_photos_of_any_size_equal_the_formula_alone_and_together(make: Make, family: str, way: str) -> None:
    backbone = make(family, way)
    form = WrittenOut(backbone, config_of(family))
    photos = [torch.rand(3, height, width) for height, width in SIZES]
    for photo, together in zip(photos, backbone.encode_mixed(photos), strict=True):
        patches, pooled = form(photo, way)
        for found in (backbone.encode_image(photo[None]), together):
            assert found.grid == (photo.shape[1] // 16, photo.shape[2] // 16)
            torch.testing.assert_close(found.patches[0].double(), patches, **CLOSE)
            torch.testing.assert_close(found.pooled[0].double(), pooled, **CLOSE)


@pytest.mark.parametrize(("family", "way"), CASES)
def test_the_image_vector_is_the_models_own_whatever_the_way(make: Make, family: str, way: str) -> None:
    backbone, images = make(family, way), torch.rand(3, 3, 64, 64)
    own = backbone.model.encode_image(backbone.normalise_colours(images), normalize=False)
    torch.testing.assert_close(backbone.encode_image(images).pooled, own, **CLOSE)


@pytest.mark.parametrize("family", PLAIN_FAMILIES)
def test_the_ways_are_four(make: Make, family: str) -> None:
    first, images = make(family, "value"), torch.rand(2, 3, 64, 64)
    patches = [type(first)("x/", first.model, None, way).freeze().encode_image(images).patches for way in WAYS]
    for number, one in enumerate(patches):
        assert all((one - other).norm() > 0.01 * one.norm() for other in patches[:number])


@pytest.mark.parametrize(("family", "way"), [*CASES[:4], ("clipa", "value"), ("clipa", "sclip"), ("coca", "value")])
@pytest.mark.parametrize("block", [0, 2])
def test_cut_in_two_it_gives_the_same_and_its_attention(make: Make, family: str, way: str, block: int) -> None:
    backbone, images = make(family, way), torch.rand(2, 3, 32, 64, requires_grad=True)
    whole = backbone.encode_image(images)
    part, attention = backbone.suffix(backbone.prefix(images, block), block, need_attention=True, grid=(2, 4))
    torch.testing.assert_close(part.patches, whole.patches, **CLOSE)
    torch.testing.assert_close(part.pooled, whole.pooled, **CLOSE)
    assert attention is not None
    assert attention.shape == (2, 3, 9, 9)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, 9))
    gradients = torch.autograd.grad(part.pooled.square().sum(), [attention, images], retain_graph=True)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    (gradient,) = torch.autograd.grad(part.patches.square().sum(), [images])
    assert gradient.abs().amax(dim=(0, 1)).min() > 0  # each pixel has a say


def test_the_attention_is_that_of_the_image_vector_whatever_the_way(make: Make) -> None:
    first, images = make("plain", "value"), torch.rand(1, 3, 64, 64)
    towers = [type(first)("x/", first.model, None, way).freeze() for way in WAYS]
    attentions = [tower.suffix(tower.prefix(images, 1), 1, need_attention=True)[1] for tower in towers]
    for attention in attentions[1:]:
        torch.testing.assert_close(attention, attentions[0])


def test_a_tower_without_projection_gives_vectors_of_its_own_width(make: Make) -> None:
    given, images = make("plain", "value"), torch.rand(1, 3, 64, 64)
    projection = given.model.visual.proj
    projected = given.encode_image(images)
    given.model.visual.proj = None
    bare = type(given)("x/", given.model, None).freeze()
    found = bare.encode_image(images)
    assert bare.dim == 48
    torch.testing.assert_close(found.patches @ projection, projected.patches)
    torch.testing.assert_close(found.pooled @ projection, projected.pooled)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"qk_norm": True}, "qk_norm in its blocks"),
        ({"block_type": "custom"}, "block_type in its blocks"),
        ({"scaled_cosine_attn": True}, "scaled_cosine_attn in its blocks"),
        ({"attentional_pool": "cascade"}, "cascade attention poolers, which open_clip itself has as untested"),
        ({"pool_type": "none"}, "pooling 'none', so no image vector"),
        ({"patch_size": [16, 8]}, "patches of \\[16, 8\\], which are not square"),
    ],
)
def test_a_tower_of_another_make_is_refused_with_the_reason(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any], reason: str
) -> None:
    import open_clip

    file = tmp_path_factory.mktemp("configs") / "insight-vit-odd.json"
    file.write_text(json.dumps({"embed_dim": 24, "text_cfg": TEXT, "vision_cfg": {**TOWER, **settings}}))
    open_clip.add_model_config(file)
    with pytest.raises(InsightError, match=f"openclip:insight-vit-odd/ has {reason}"):
        load_openclip("insight-vit-odd/")


@pytest.mark.parametrize(("family", "way"), [("coca", "sclip"), ("coca", "tokens"), ("plain", "gem")])
def test_a_way_that_the_tower_has_not_is_refused_with_those_it_has(make: Make, family: str, way: str) -> None:
    known = r" or \+tokens or \+sclip or \+clearclip" if family == "plain" else ""
    with pytest.raises(InsightError, match=rf"by its value path \(nothing behind the name\){known}, found \+{way}"):
        load_openclip(f"insight-vit-{family}/", way)


def test_every_transformer_that_open_clip_lists_itself_has_dense_patches() -> None:
    import open_clip

    from insight.backbones.openclip.vit import OpenClip

    towers = {name: open_clip.get_model_config(name)["vision_cfg"] for name in open_clip.list_models()}
    own = {name: vision for name, vision in towers.items() if "timm_model_name" not in vision and "insight" not in name}
    own = {name: vision for name, vision in own.items() if isinstance(vision["layers"], int)}
    assert len(own) > 40
    for name, vision in own.items():
        OpenClip.check_config(name, vision)


@pytest.mark.parametrize("family", ["plain", "clipa", "coca"])
def test_dense_patches_cost_at_most_a_tenth_more_than_the_bare_forward(
    tmp_path_factory: pytest.TempPathFactory, family: str
) -> None:
    """In multiplications, counted on a tower of the usual depth; without patches the bare forward is open_clip's."""
    import open_clip
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    given = config_of(family)
    usual = {"image_size": 224, "layers": 12, "width": 256, "head_width": 64}
    file = tmp_path_factory.mktemp("configs") / f"insight-vit-usual-{family}.json"
    file.write_text(json.dumps({**given, "vision_cfg": {**given["vision_cfg"], **usual}}))
    open_clip.add_model_config(file)
    backbone = load_openclip(f"insight-vit-usual-{family}/").freeze().to("meta")
    images = torch.rand(1, 3, 224, 224, device="meta")

    def multiplications(encode: Callable[[torch.Tensor], Any]) -> int:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # a kernel it sees into
            encode(images)
        return counter.get_total_flops()

    bare = multiplications(backbone.model.visual)
    for way in type(backbone).ways:
        tower = type(backbone)("x/", backbone.model, None, way).freeze().to("meta")
        assert 0.9 * bare < multiplications(tower.encode_image) < 1.1 * bare
