"""`small`: what it sees and reads, cut in two at any block, with gradients through everything."""

import json
import re
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import insight.backbones
from insight.backbones.base import hash_tensors
from insight.backbones.small import BRIDGE, Small
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


def test_the_card_is_of_this_bridge_and_says_that_it_is_not_clip(small: Small) -> None:
    card = json.loads(BRIDGE.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["tensors_sha256"] == hash_tensors(load_file(BRIDGE))
    assert "not CLIP" in card["what"]
    assert "not CLIP" in small.description
    assert card["recipe"]["seed"] >= 0
    assert BRIDGE.stat().st_size < 2_000_000


def test_the_card_quotes_the_committed_benchmark() -> None:
    root = Path(__file__).parents[3]
    card = json.loads(BRIDGE.with_suffix(".json").read_text(encoding="utf-8"))
    record = json.loads((root / "benchmarks" / "results" / "zero_shot.json").read_text(encoding="utf-8"))
    assert card["measured"] == record["claims"]
