"""open_clip towers: the dense path equals its formula in float64, the image vector equals open_clip's own."""

import json
import math

import pytest
import torch
from torch import Tensor

from insight.backbones import Backbone, load
from sae.errors import InsightError

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 48, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}

BLOCK_KEYS = [
    *(f"{layer}.{kind}" for layer in ("ln_1", "ln_2") for kind in ("weight", "bias")),
    *(f"{layer}.{kind}" for layer in ("attn.out_proj", "mlp.c_fc", "mlp.c_proj") for kind in ("weight", "bias")),
    *("attn.in_proj_weight", "attn.in_proj_bias"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A tiny untrained CLIP, with every weight moved off its start so that no term of the formula is zero or one."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    plain = {**TINY, "quick_gelu": True}
    scaled = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "ls_init_value": 0.3, "pool_type": "avg"}}
    for name, config in (("insight-tiny", plain), ("insight-tiny-scaled", scaled)):
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return disturbed(load("openclip:insight-tiny/"))


def disturbed(backbone: Backbone) -> Backbone:
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return backbone


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def written_out(backbone: Backbone, images: Tensor) -> tuple[Tensor, Tensor]:
    """Patches and image vector by plain tensor operations in float64, photo by photo and head by head.

    The published dense path: value of the last block, residual and MLP kept, final norm, projection.
    """
    w = {name: value.double() for name, value in backbone.model.visual.state_dict().items()}
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64).view(3, 1, 1)
    found = [written_out_photo(w, photo) for photo in (images.double() - mean) / std]
    return torch.stack([dense for dense, _ in found]), torch.stack([pooled for _, pooled in found])


def written_out_photo(w: dict[str, Tensor], photo: Tensor) -> tuple[Tensor, Tensor]:
    cells = [photo[:, r : r + 16, c : c + 16].reshape(-1) for r in range(0, 64, 16) for c in range(0, 64, 16)]
    tokens = [w["class_embedding"], *(w["conv1.weight"].reshape(48, -1) @ cell for cell in cells)]
    x = layer_norm(torch.stack(tokens) + w["positional_embedding"], w["ln_pre.weight"], w["ln_pre.bias"])
    for block in range(3):
        p = {key: w[f"transformer.resblocks.{block}.{key}"] for key in BLOCK_KEYS}
        normed = layer_norm(x, p["ln_1.weight"], p["ln_1.bias"])
        q, k, v = (normed @ p["attn.in_proj_weight"].T + p["attn.in_proj_bias"]).split(48, dim=1)
        heads = []
        for head in range(0, 48, 16):
            scores = torch.exp(q[:, head : head + 16] @ k[:, head : head + 16].T / math.sqrt(16))
            heads.append(scores / scores.sum(1, keepdim=True) @ v[:, head : head + 16])
        dense = rest_of_block(p, x, v)
        x = rest_of_block(p, x, torch.cat(heads, dim=1))
    dense, x = (layer_norm(value, w["ln_post.weight"], w["ln_post.bias"]) @ w["proj"] for value in (dense, x))
    return dense[1:], x[0]


def rest_of_block(p: dict[str, Tensor], x: Tensor, value: Tensor) -> Tensor:
    y = x + value @ p["attn.out_proj.weight"].T + p["attn.out_proj.bias"]
    hidden = layer_norm(y, p["ln_2.weight"], p["ln_2.bias"]) @ p["mlp.c_fc.weight"].T + p["mlp.c_fc.bias"]
    hidden = hidden / (1 + torch.exp(-1.702 * hidden))  # the quick GELU
    return y + hidden @ p["mlp.c_proj.weight"].T + p["mlp.c_proj.bias"]


def test_dense_patches_equal_the_formula(tiny: Backbone) -> None:
    images = torch.rand(2, 3, 64, 64)
    found = tiny.encode_image(images)
    dense, pooled = written_out(tiny, images)
    assert found.grid == tiny.grid == (4, 4)
    torch.testing.assert_close(found.patches.double(), dense, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.pooled.double(), pooled, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["insight-tiny", "insight-tiny-scaled"])
def test_the_image_vector_is_the_models_own(tiny: Backbone, name: str) -> None:
    backbone = disturbed(load(f"openclip:{name}/"))
    images = torch.rand(3, 3, 64, 64)
    own = backbone.model.encode_image(backbone.normalise_colours(images))
    torch.testing.assert_close(backbone.encode_image(images).pooled, own, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_cut_in_two_it_gives_the_same(tiny: Backbone, block: int) -> None:
    images = torch.rand(2, 3, 64, 64).requires_grad_()
    whole = tiny.encode_image(images)
    part, attention = tiny.suffix(tiny.prefix(images, block), block, need_attention=True)
    torch.testing.assert_close(part.patches, whole.patches, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(part.pooled, whole.pooled, atol=1e-5, rtol=1e-4)
    assert attention is not None
    assert attention.shape == (2, 3, 17, 17)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, 17))
    gradients = torch.autograd.grad(part.pooled.square().sum(), [attention, images])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_larger_photos_get_resized_positions(tiny: Backbone) -> None:
    found = tiny.encode_image(torch.rand(1, 3, 128, 128))
    assert found.grid == (8, 8)
    same = tiny._positions((4, 4))
    assert same is tiny.model.visual.positional_embedding
    flat = tiny.model.visual.positional_embedding[1:].mean(0)
    torch.testing.assert_close(tiny._positions((8, 8))[1:].mean(0), flat, atol=0.1, rtol=0.1)


def test_texts_are_unit_vectors_of_the_text_tower(tiny: Backbone) -> None:
    texts = ["a dog", "", "two cats on a mat"] * 100  # more than one batch
    found = tiny.encode_text(texts)
    assert found.shape == (300, 24)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(300))
    own = tiny.model.encode_text(tiny.tokenizer(texts[-1:]))
    torch.testing.assert_close(found[-1:], own / own.norm(), atol=1e-5, rtol=1e-4)
    assert tiny.encode_text([]).shape == (0, 24)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RN50/openai", "ResNet"),
        ("ViT-B-16-SigLIP/webli", "timm"),
        ("coca_ViT-B-32/laion2b_s13b_b90k", "attentional_pool"),
    ],
)
def test_towers_without_a_dense_path_are_refused_before_any_download(name: str, reason: str) -> None:
    with pytest.raises(InsightError, match=reason):
        load(f"openclip:{name}")


def test_an_unknown_model_or_tag_ends_in_one_line(tiny: Backbone) -> None:
    for name in ("no-such-model/tag", "insight-tiny/no_such_tag"):
        with pytest.raises(InsightError) as caught:
            load(f"openclip:{name}")
        assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_the_weights(tiny: Backbone) -> None:
    first, second = load("openclip:insight-tiny/"), load("openclip:insight-tiny/")
    assert first.fingerprint == second.fingerprint != tiny.fingerprint
    assert first.name == "openclip:insight-tiny/"  # the slash that means untrained stays in the name
