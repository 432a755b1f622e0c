"""`small`: what it sees and reads, cut in two at any block, with gradients through everything."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import insight.backbones
from insight.backbones.base import hash_tensors
from insight.backbones.small import BRIDGE, Small
from insight.backbones.small.bridge import SHAPES, Bridge
from sae.errors import InsightError


def test_load_gives_a_frozen_backbone(small: Small) -> None:
    found = insight.backbones.load("small")
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert found.fingerprint == small.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", found.fingerprint)


def test_the_fingerprint_costs_nothing(small: Small) -> None:
    began = time.monotonic()
    assert small.fingerprint
    assert time.monotonic() - began < 0.01


def test_another_bridge_has_another_fingerprint(small: Small, tmp_path: Path) -> None:
    data = bytearray(BRIDGE.read_bytes())
    data[-1] ^= 1
    (tmp_path / "bridge.safetensors").write_bytes(data)
    assert Small(tmp_path / "bridge.safetensors").fingerprint != small.fingerprint


def test_features_have_the_shapes_of_the_contract(small: Small, photos: Tensor) -> None:
    found = small.encode_image(photos)
    assert found.patches.shape == (2, 256, 384)
    assert found.pooled.shape == (2, small.dim) == (2, 384)
    assert found.grid == small.grid == (16, 16)
    assert 0.2 < found.patches.square().sum(-1).mean() < 5  # the bridge is scaled to about 1


def test_a_larger_photo_gives_more_patches_of_the_same_meaning(small: Small, photos: Tensor) -> None:
    large = torch.nn.functional.interpolate(photos, size=448, mode="bicubic").clamp(0, 1)
    found = small.encode_image(large)
    assert found.grid == (32, 32)
    assert torch.cosine_similarity(found.pooled, small.encode_image(photos).pooled).min() > 0.8


@pytest.mark.parametrize("block", [0, 5, 11])
def test_cut_in_two_it_gives_the_same(small: Small, photos: Tensor, block: int) -> None:
    whole = small.encode_image(photos)
    z = small.prefix(photos, block)
    assert z.shape == (2, small.n_prefix + 256, 384)
    for need_attention in (False, True):
        part, attention = small.suffix(z, block, need_attention=need_attention)
        torch.testing.assert_close(part.patches, whole.patches, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(part.pooled, whole.pooled, atol=1e-4, rtol=1e-4)
    assert attention is not None
    assert attention.shape == (2, 6, 257, 257)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 6, 257))


def test_the_features_depend_on_the_attention_that_is_returned(small: Small, photos: Tensor) -> None:
    z = small.prefix(photos[:1], 11).requires_grad_()
    found, attention = small.suffix(z, 11, need_attention=True)
    assert attention is not None
    (gradient,) = torch.autograd.grad(found.pooled.square().sum(), attention)
    assert gradient.abs().max() > 0


def test_gradients_reach_the_photo(small: Small, photos: Tensor) -> None:
    leaf = photos[:1].clone().requires_grad_()
    text = small.encode_text(["a flower"])
    (small.encode_image(leaf).pooled @ text.T).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0


def test_photos_are_nearest_to_what_they_show(small: Small, photos: Tensor) -> None:
    texts = small.encode_text(
        ["a photo of a building", "a photo of a flower", "a photo of a dog", "a photo of a pizza"]
    )
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(4))
    assert (small.encode_image(photos).pooled @ texts.T).argmax(1).tolist() == [0, 1]


def test_patches_say_where_the_building_stands(small: Small, photos: Tensor) -> None:
    """The temple fills the left and the middle of its photo; the upper right is sky and branches."""
    patches = small.encode_image(photos[:1]).patches[0]
    texts = small.encode_text([f"a photo of {thing}" for thing in ("a building", "sky", "a tree")])
    is_building = (torch.nn.functional.normalize(patches, dim=1) @ texts.T).argmax(1).reshape(16, 16) == 0
    assert is_building[4:12, 1:8].float().mean() > 0.8
    assert is_building[:6, 10:].float().mean() < 0.3


@pytest.mark.parametrize("shape", [(2, 3, 224, 211), (2, 1, 224, 224), (3, 224, 224), (1, 3, 225, 225), (1, 3, 0, 0)])
def test_images_of_another_shape_are_refused(small: Small, shape: tuple[int, ...]) -> None:
    with pytest.raises(InsightError, match="multiples of 14"):
        small.encode_image(torch.rand(shape))


@pytest.mark.parametrize("block", [-1, 12])
def test_there_is_no_block_outside_the_model(small: Small, photos: Tensor, block: int) -> None:
    with pytest.raises(InsightError, match="blocks 0 to 11"):
        small.prefix(photos, block)


def random_bridge() -> dict[str, Tensor]:
    return {name: torch.randn(shape) * 0.05 for name, shape in SHAPES.items()}


def test_a_bridge_is_two_linear_maps_and_a_centred_text(tmp_path: Path) -> None:
    tensors = random_bridge()
    save_file(tensors, tmp_path / "bridge.safetensors")
    bridge = Bridge.read(tmp_path / "bridge.safetensors")
    tokens, vectors = torch.randn(3, 1 + 5, 384), torch.randn(4, 384)
    patches, pooled = bridge(tokens)
    weight, patch_mean, pooled_weight, pooled_mean, text_mean = (
        tensors[name].double().numpy() for name in ("weight", "patch_mean", "pooled_weight", "pooled_mean", "text_mean")
    )
    t = tokens.double().numpy()
    for i in range(3):
        expected = np.stack([weight @ (t[i, 1 + j] - patch_mean) for j in range(5)])
        np.testing.assert_allclose(patches[i], expected, atol=1e-4)
        both = np.concatenate([t[i, 0], t[i, 1:].mean(0)])
        np.testing.assert_allclose(pooled[i], pooled_weight @ (both - pooled_mean), atol=1e-4)
    centred = vectors.double().numpy() - text_mean
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(bridge.text(vectors), expected, atol=1e-5)


def test_masked_tokens_change_nothing() -> None:
    bridge = Bridge(random_bridge())
    alone = torch.randn(2, 1 + 4, 384)
    padded = torch.cat([alone, torch.full((2, 3, 384), 1e30)], dim=1)
    padded[1] = torch.randn(8, 384)  # the other photo has more patches
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 5:] = False
    patches, pooled = bridge(padded, mask)
    for i, tokens in enumerate((alone[0], padded[1])):
        expected = bridge(tokens[None])
        torch.testing.assert_close(patches[i, : len(tokens) - 1], expected[0][0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(pooled[i], expected[1][0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("damage", ["missing", "shape", "type", "more", "text"])
def test_a_file_that_is_no_bridge_is_refused(tmp_path: Path, damage: str) -> None:
    tensors, path = random_bridge(), tmp_path / "bridge.safetensors"
    if damage == "missing":
        del tensors["pooled_mean"]
    elif damage == "shape":
        tensors["weight"] = torch.zeros(384, 768)
    elif damage == "type":
        tensors["text_mean"] = tensors["text_mean"].half()
    elif damage == "more":
        tensors["bias"] = torch.zeros(384)
    if damage == "text":
        path.write_text("no tensors")
    else:
        save_file(tensors, path)
    expected = {"missing": "pooled_mean, found none", "shape": "384, 768", "type": "float16", "more": "bias too"}
    with pytest.raises(InsightError, match=expected.get(damage, "no safetensors file")) as caught:
        Bridge.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_small_is_the_trunk_and_the_shipped_bridge(small: Small, photos: Tensor) -> None:
    found = small.encode_image(photos)
    tokens = small.vit.forward_features((photos - small.colour_mean) / small.colour_std)
    patches, pooled = Bridge.read(BRIDGE)(tokens)
    torch.testing.assert_close(found.patches, patches, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.pooled, pooled, atol=1e-4, rtol=1e-4)


def test_the_card_is_of_this_bridge_and_says_that_it_is_not_clip(small: Small) -> None:
    card = json.loads(BRIDGE.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["tensors_sha256"] == hash_tensors(load_file(BRIDGE))
    assert "not CLIP" in card["what"]
    assert "not CLIP" in small.description
    assert card["recipe"]["seed"] >= 0
    assert BRIDGE.stat().st_size < 4_000_000


def test_the_card_quotes_the_committed_benchmark() -> None:
    root = Path(__file__).parents[4]
    card = json.loads(BRIDGE.with_suffix(".json").read_text(encoding="utf-8"))
    record = json.loads((root / "benchmarks" / "results" / "alignment.json").read_text(encoding="utf-8"))
    assert card["measured"] == record["claims"]


def test_held_out_photos_are_300_and_one_of_each_name() -> None:
    held_out = json.loads((BRIDGE.parent / "held_out.json").read_text(encoding="utf-8"))
    assert len(set(held_out["coco"])) == len(held_out["coco"]) == 300
    folders = [name.split("/")[0] for name in held_out["imagenet"]]
    assert len(set(folders)) == len(folders) == 200
