"""LoRA towers: every adapter is in the way of the photo, and nothing else is trained."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from insight.backbones import Transformer
from insight.methods.towers import LoraTower
from insight.methods.towers.lora import linear_layers
from sae.errors import InsightError
from tests.insight.methods.towers.test_visual_tokens import timm_toy
from tests.insight.tiny_clip import tiny_clip

BASES = {
    "clip": (tiny_clip, {"mlp.c_fc", "mlp.c_proj"}),
    "clip-tokens-mean": (lambda: tiny_clip(pool_type="avg"), {"mlp.c_fc", "mlp.c_proj"}),
    "timm": (lambda: timm_toy("insight_mobileclip"), {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}),
    "timm-mean": (lambda: timm_toy("insight_mean"), {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}),
    "timm-eva-without-bias": (lambda: timm_toy("insight_dinov3"), {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}),
    "timm-eva-with-bias": (lambda: timm_toy("insight_eva01"), {"attn.proj", "mlp.fc1", "mlp.fc2"}),
    "timm-eva-unfused": (
        lambda: timm_toy("insight_eva02"),
        {"attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.proj", "mlp.fc1_g", "mlp.fc1_x", "mlp.fc2"},
    ),
}


@pytest.fixture(scope="module", params=BASES)
def case(request: pytest.FixtureRequest) -> tuple[Transformer, set[str], LoraTower]:
    make, layers = BASES[request.param]
    base = make()
    return base, layers, LoraTower(base, base.depth - 2, rank=2, alpha=6.0)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def adapters(tower: LoraTower) -> dict[str, nn.Parameter]:
    """The B of every adapter, by the layer."""
    found = {name: value for name, value in tower.backbone.named_parameters() if ".lora_B." in name}
    return {name.partition(".lora_B.")[0]: value for name, value in found.items()}


def test_the_layers_that_blocks_call_are_adapted_in_the_last_blocks(
    case: tuple[Transformer, set[str], LoraTower],
) -> None:
    base, layers, tower = case
    names = adapters(tower)
    assert {".".join(name.split(".")[-2:]) for name in names} == layers
    assert len(names) == 2 * len(layers)
    assert [*names] == [name for name, _ in base.named_modules() if name in names]


def test_before_training_nothing_is_changed(case: tuple[Transformer, set[str], LoraTower], images: Tensor) -> None:
    base, _, tower = case
    with torch.no_grad():
        torch.testing.assert_close(tower.backbone.encode_image(images).pooled, base.encode_image(images).pooled)
    assert not any("lora" in name for name, _ in base.named_parameters())


def test_only_the_adapters_are_trained_and_each_has_a_gradient(
    case: tuple[Transformer, set[str], LoraTower], images: Tensor
) -> None:
    _, _, tower = case
    with torch.no_grad():
        for number, own in enumerate(adapters(tower).values()):
            own.normal_(generator=torch.Generator().manual_seed(number)).mul_(0.1)
    trained = {name: value for name, value in tower.named_parameters() if value.requires_grad}
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)
    assert len(trained) == 2 * len(adapters(tower))
    vectors = tower.vectors(tower.keep(images))
    vectors.pooled.square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in trained.values())
    tower.zero_grad()
    with torch.no_grad():
        for own in adapters(tower).values():
            own.zero_()


def test_each_adapter_changes_what_is_seen_with_and_without_attention(
    case: tuple[Transformer, set[str], LoraTower], images: Tensor
) -> None:
    _, _, tower = case
    backbone, last = tower.backbone, tower.backbone.depth - 1
    with torch.no_grad():
        before = backbone.encode_image(images).pooled
        for own in adapters(tower).values():
            own.normal_(generator=torch.Generator().manual_seed(0))
            after = backbone.encode_image(images).pooled
            assert float((after - before).abs().max()) > 1e-4
            features, _ = backbone.suffix(backbone.prefix(images, last), last, need_attention=True)
            torch.testing.assert_close(features.pooled, after, rtol=1e-3, atol=1e-4)
            own.zero_()


def test_an_adapter_adds_alpha_over_rank_times_b_a() -> None:
    base, random = tiny_clip(), torch.Generator().manual_seed(0)
    tower, merged = LoraTower(base, 3, rank=2, alpha=6.0), tiny_clip()
    values = dict(tower.backbone.named_parameters())
    with torch.no_grad():
        for layer, own in adapters(tower).items():
            own.copy_(torch.randn(own.shape, generator=random))
            down = values[f"{layer}.lora_A.default.weight"].double()
            dict(merged.named_modules())[layer].weight.add_((6.0 / 2 * own.double() @ down).float())
        images = torch.rand(2, 3, 64, 64, generator=random)
        found, wanted = tower.backbone.encode_image(images), merged.encode_image(images)
    torch.testing.assert_close(found.patches, wanted.patches, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.pooled, wanted.pooled, rtol=1e-4, atol=1e-4)


def test_the_start_is_drawn_by_the_seed_and_leaves_the_global_one_alone() -> None:
    clip = tiny_clip()
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one, again, other = (LoraTower(clip, 3, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), wanted)
    first = next(name for name in one if ".lora_A." in name)
    assert torch.equal(one[first], again[first])
    assert not torch.equal(one[first], other[first])


def test_finding_the_layers_leaves_no_hooks() -> None:
    clip = tiny_clip()
    assert len(linear_layers(clip, 0)) == 8
    assert not any(module._forward_hooks for module in clip.modules())


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InsightError, match=r"pip install 'insight-concepts\[methods\]'"):
        LoraTower(tiny_clip(), 3)
