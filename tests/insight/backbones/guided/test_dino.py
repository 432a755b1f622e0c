"""`+dino`: patches pooled by what a guide sees as alike, against sums written out in float64."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from insight.backbones import Backbone, load
from insight.backbones.guided import dino as guided
from insight.backbones.guided.dino import Guided, correlations, load_dino, pool, pool_alike, values_of
from insight.backbones.small import Small
from insight.backbones.timm_models.vision import TimmTransformer
from sae.errors import InsightError

TOWER = {"layers": 2, "width": 48, "head_width": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Backbone]:
    """Tiny CLIPs by the side of their patch, in float64: no cosine is so near to gamma that rounding decides."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    for patch in (8, 16):
        config = {"embed_dim": 24, "vision_cfg": {**TOWER, "image_size": 4 * patch, "patch_size": patch}}
        (folder / f"insight-guided-{patch}.json").write_text(json.dumps({**config, "text_cfg": TEXT}))
    open_clip.add_model_config(folder)
    return {patch: load(f"openclip:insight-guided-{patch}/").double() for patch in (8, 16)}


@pytest.fixture(scope="module")
def guide() -> Backbone:
    """An untrained vision transformer of timm with patches of 16 pixels, in float64."""
    return load("timm:test_vit/").double()


def written_out(patches: Tensor, vectors: Tensor, gamma: float) -> Tensor:
    """Pooled patches [n, d] of one photo, sum by sum."""
    rows = []
    for p in vectors.double():
        cosines = [float(p @ q) / math.sqrt(float(p @ p) * float(q @ q)) for q in vectors.double()]
        weights = [cosine if cosine >= gamma else 0.0 for cosine in cosines]
        total = sum(w * f for w, f in zip(weights, patches.double(), strict=True))
        rows.append(total / (sum(weights) + 1e-6))
    return torch.stack(rows)


@pytest.mark.parametrize("gamma", [0.2, 0.05])
def test_pooling_equals_its_formula(gamma: float) -> None:
    patches, vectors = torch.randn(3, 11, 5).double(), torch.randn(3, 11, 4).double()
    found = pool(patches, correlations(vectors, gamma))
    expected = torch.stack([written_out(f, v, gamma) for f, v in zip(patches, vectors, strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("cells", [1, 50, 10**6])
def test_pooling_some_rows_at_a_time_gives_the_same(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    patches, vectors = torch.randn(2, 13, 5).double(), torch.randn(2, 13, 4).double()
    monkeypatch.setattr(guided, "CELLS", cells)
    torch.testing.assert_close(pool_alike(patches, vectors), pool(patches, correlations(vectors)))


def test_the_published_constants() -> None:
    assert (guided.GAMMA, guided.EPSILON, guided.GUIDE) == (0.2, 1e-6, "timm:vit_base_patch16_224.dino")


def test_a_cosine_of_gamma_counts_and_one_below_does_not() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]], dtype=torch.float64)
    found = correlations(vectors, gamma=0.6)[0]
    torch.testing.assert_close(found, torch.tensor([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]], dtype=torch.float64))
    assert correlations(vectors, gamma=0.61)[0, 0, 1] == 0


@pytest.mark.parametrize("name", ["test_vit", "eva02_tiny_patch14_224", "vit_small_patch16_rope_224"])
def test_values_are_what_the_last_block_attends_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guide, attended = load(f"timm:{name}/"), []
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter += 0.05 * torch.randn_like(parameter)  # no bias is zero
    images = torch.rand(2, 3, 3 * guide.patch, 2 * guide.patch)
    attend = nn.functional.scaled_dot_product_attention
    with monkeypatch.context() as patched:
        patched.setattr(
            nn.functional, "scaled_dot_product_attention", lambda *a, **k: attended.append(a[2]) or attend(*a, **k)
        )
        guide.encode_image(images)
    expected = attended[-1].transpose(1, 2).flatten(2)[:, guide.n_prefix :]  # the heads one behind the other
    torch.testing.assert_close(values_of(guide, images, (3, 2)), expected, atol=1e-4, rtol=1e-4)
    assert len(attended) == guide.depth


def test_blocks_that_do_not_begin_with_a_norm_are_refused(towers: dict[int, Backbone]) -> None:
    import timm
    from timm.models.vision_transformer import ResPostBlock

    guide = TimmTransformer("post", timm.create_model("test_vit", block_fn=ResPostBlock, init_values=1.0))
    with pytest.raises(InsightError, match="cannot read the values of ResPostBlock"):
        Guided(towers[16], guide)


def test_the_guide_sees_as_many_patches_as_the_base(guide: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    images, seen = torch.rand(2, 3, 24, 40), []
    prefix = guide.prefix
    monkeypatch.setattr(guide, "prefix", lambda images, block: seen.append(images) or prefix(images, block))
    assert values_of(guide, images.double(), (3, 5)).shape == (2, 15, guide.width)
    for channel, found in zip(images.flatten(0, 1).numpy(), seen[0].flatten(0, 1), strict=True):
        expected = Image.fromarray(channel).resize((80, 48), Image.Resampling.BICUBIC)
        torch.testing.assert_close(found.float(), torch.tensor(np.array(expected)).clamp(0, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("patch", [8, 16])
def test_patches_are_pooled_by_the_guides_values(towers: dict[int, Backbone], guide: Backbone, patch: int) -> None:
    base, images = towers[patch], torch.rand(2, 3, 3 * patch, 4 * patch).double()
    found, plain = Guided(base, guide).encode_image(images), base.encode_image(images)
    values = values_of(guide, images, (3, 4))
    expected = torch.stack([written_out(f, v, 0.2) for f, v in zip(plain.patches, values, strict=True)])
    assert found.grid == (3, 4)
    torch.testing.assert_close(found.patches, expected, atol=1e-9, rtol=1e-7)
    assert (found.patches - plain.patches).norm() > 1e-3 * plain.patches.norm()
    torch.testing.assert_close(found.pooled, plain.pooled)


def test_two_flat_halves_are_pooled_each_by_itself(towers: dict[int, Backbone]) -> None:
    guide = load("timm:test_vit/").double()
    images = torch.zeros(1, 3, 64, 64).double()
    images[..., 32:] = 1
    last = guide.model.blocks[-1]
    with torch.no_grad():  # no positions: all patches of a half are the same token; values (1, 0, ..) and (-1, 0, ..)
        guide.model.pos_embed.zero_()
        left, right = last.norm1(guide.prefix(images, guide.depth - 1))[0, guide.n_prefix :][[0, 3]]
        last.attn.qkv.weight[-guide.width :] = 0
        last.attn.qkv.weight[-guide.width] = (
            torch.linalg.pinv(torch.stack([left, right])) @ torch.tensor([1.0, -1.0]).double()
        )
        last.attn.qkv.bias[-guide.width :] = 0
    found = Guided(towers[16], guide).encode_image(images).patches.unflatten(1, (4, 4))
    plain = towers[16].encode_image(images).patches.unflatten(1, (4, 4))
    for half in (slice(0, 2), slice(2, 4)):
        mean = plain[:, :, half].mean((1, 2), keepdim=True).expand(1, 4, 2, 24)
        torch.testing.assert_close(found[:, :, half], mean, atol=1e-5, rtol=1e-5)


def test_photos_of_several_sizes_are_each_what_it_is_alone(towers: dict[int, Backbone], guide: Backbone) -> None:
    backbone = Guided(towers[8], guide)
    photos = [torch.rand(3, height, width).double() for height, width in ((32, 32), (16, 40), (32, 32))]
    for photo, found in zip(photos, backbone.encode_mixed(photos), strict=True):
        alone = backbone.encode_image(photo[None])
        assert found.grid == alone.grid == (photo.shape[1] // 8, photo.shape[2] // 8)
        torch.testing.assert_close(found.patches, alone.patches)
        torch.testing.assert_close(found.pooled, alone.pooled)


def test_texts_and_sizes_are_the_bases_own(towers: dict[int, Backbone], guide: Backbone) -> None:
    base = towers[16]
    backbone = Guided(base, guide)
    assert backbone.name == "openclip:insight-guided-16/+dino"
    assert (backbone.dim, backbone.patch, backbone.grid, backbone.image_size) == (24, 16, (4, 4), 64)
    torch.testing.assert_close(backbone.encode_text(["a dog"]), base.encode_text(["a dog"]))
    with pytest.raises(InsightError, match="has no transformer blocks to cut at"):
        backbone.prefix(torch.rand(1, 3, 64, 64), 0)


def test_the_fingerprint_follows_both_models(towers: dict[int, Backbone], guide: Backbone) -> None:
    other = load("timm:vit_little_patch16_reg1_gap_256/")
    found = [Guided(base, g).fingerprint for base in towers.values() for g in (guide, other)]
    assert len({*found, towers[8].fingerprint, towers[16].fingerprint}) == 6
    assert found[0] == Guided(towers[8], guide).fingerprint != Guided(towers[8], guide, 0.3).fingerprint


def test_small_is_guided_by_its_own_trunk_in_one_forward(small: Small, photos: Tensor) -> None:
    backbone, blocks = load_dino(small), []
    assert backbone.guide is small
    hook = small.vit.blocks[5].register_forward_hook(lambda *call: blocks.append(call))
    found = backbone.encode_image(photos)
    hook.remove()
    assert len(blocks) == 1
    plain, values = small.encode_image(photos), values_of(small, photos, (16, 16))
    torch.testing.assert_close(found.patches, pool_alike(plain.patches, values, 0.3), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooled, plain.pooled)
    spread = [float((patches - patches.mean(1, keepdim=True)).norm()) for patches in (found.patches, plain.patches)]
    assert spread[0] < spread[1]  # what the trunk sees as alike has come nearer to each other


def test_what_is_no_plain_vision_transformer_cannot_guide(towers: dict[int, Backbone]) -> None:
    for name in ("timm:test_resnet/", "openclip:insight-guided-8/"):
        with pytest.raises(InsightError, match="has no values to compare patches by"):
            load_dino(towers[16], name)


def test_without_the_guides_weights_the_error_says_which(towers: dict[int, Backbone], no_network: Path) -> None:
    with pytest.raises(
        InsightError, match=r"insight-guided-16/\+dino needs its guide: timm:vit_base_patch16_224.dino"
    ) as e:
        load_dino(towers[16])
    assert "\n" not in str(e.value)
