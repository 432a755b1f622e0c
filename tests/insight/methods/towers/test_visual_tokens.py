"""VisualTokens: a transformer with learnt prefix tokens, and the tower that trains them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from insight.attribution.grad_cam import GradCAM
from insight.attribution.m2ib import M2IB
from insight.backbones import DenseFeatures, Transformer
from insight.backbones.timm_models.vision import TimmTransformer, load_timm
from insight.methods.towers import TokenTower, VisualTokens
from sae.errors import InsightError
from tests.insight.backbones.timm_models import toys  # noqa: F401  registers the models
from tests.insight.tiny_clip import tiny_clip

N = 3


def timm_toy(name: str) -> Transformer:
    backbone = load_timm(f"{name}/")
    assert isinstance(backbone, TimmTransformer)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    backbone.freeze()
    return backbone


BASES: dict[str, Callable[[], Transformer]] = {
    "clip": tiny_clip,
    "clip-mean": lambda: tiny_clip(pool_type="avg"),
    "timm-class-token-registers": lambda: timm_toy("insight_mobileclip"),
    "timm-mean": lambda: timm_toy("insight_mean"),
    "timm-attention-pooled": lambda: timm_toy("insight_siglip"),
    "timm-eva": lambda: timm_toy("insight_eva01"),
}


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest) -> Transformer:
    return BASES[request.param]()


@pytest.fixture(scope="module")
def tuned(base: Transformer) -> VisualTokens:
    backbone = VisualTokens(base, N, seed=0)
    with torch.no_grad():
        backbone.tokens.add_(torch.randn(backbone.tokens.shape, generator=torch.Generator().manual_seed(2)))
    return backbone


@pytest.fixture
def photos() -> Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))


def same(one: DenseFeatures, other: DenseFeatures) -> None:
    assert one.grid == other.grid
    torch.testing.assert_close(one.patches, other.patches, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.pooled, other.pooled, rtol=1e-4, atol=1e-5)


def test_tokens_stand_between_prefix_and_patches_until_the_last_block(
    base: Transformer, tuned: VisualTokens, photos: Tensor
) -> None:
    z, count = base.embed(photos), base.n_prefix
    z = torch.cat([z[:, :count], tuned.tokens.expand(2, N, base.width), z[:, count:]], 1)
    for block in range(base.depth - 1):
        torch.testing.assert_close(tuned.prefix(photos, block), z)
        z, _ = base.run(z, block, block + 1)
    torch.testing.assert_close(tuned.prefix(photos, base.depth - 1), z)
    assert tuned.n_prefix == count + N
    alone = base.suffix(torch.cat([z[:, :count], z[:, count + N :]], 1), base.depth - 1, grid=(4, 6))[0]
    same(tuned.encode_image(photos), alone)


def test_tokens_change_what_is_seen(base: Transformer, tuned: VisualTokens, photos: Tensor) -> None:
    plain, seen = base.encode_image(photos), tuned.encode_image(photos)
    assert seen.patches.shape == plain.patches.shape
    assert float((seen.pooled - plain.pooled).abs().max().detach()) > 1e-3


def test_it_can_be_cut_at_every_block(base: Transformer, tuned: VisualTokens, photos: Tensor) -> None:
    whole = tuned.encode_image(photos)
    for block in range(base.depth):
        z = tuned.prefix(photos, block)
        assert z.shape == (2, base.n_prefix + N + 24, base.width)
        same(tuned.suffix(z, block, grid=(4, 6))[0], whole)
        for to in range(block + 1, base.depth):
            passed, attention = tuned.between(z, block, to, need_attention=True, grid=(4, 6))
            torch.testing.assert_close(passed, tuned.prefix(photos, to), rtol=1e-4, atol=1e-5)
            assert attention is not None
            assert attention.shape[-2:] == z.shape[1:2] * 2


def test_the_last_attention_is_of_the_photo_alone_and_the_output_follows_it(
    base: Transformer, tuned: VisualTokens, photos: Tensor
) -> None:
    last = base.depth - 1
    features, attention = tuned.suffix(tuned.prefix(photos, last), last, need_attention=True, grid=(4, 6))
    same(features, tuned.encode_image(photos))
    assert attention is not None
    assert attention.shape[-1] == base.n_prefix + 24
    (gradient,) = torch.autograd.grad(features.pooled.square().sum(), attention)
    assert gradient[..., -24:].abs().sum() > 0


def test_photos_of_several_sizes_pass_together(tuned: VisualTokens, photos: Tensor) -> None:
    mixed = [photos[0], photos[1, :, :, :64], photos[1, :, :32]]
    for photo, features in zip(mixed, tuned.encode_mixed(mixed)):
        same(features, tuned.encode_image(photo[None]))


def test_its_fingerprint_is_of_the_tokens_as_they_are() -> None:
    clip = tiny_clip()
    one, same_seed, other = (VisualTokens(clip, N, seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint == same_seed.fingerprint != other.fingerprint
    before = one.fingerprint
    with torch.no_grad():
        one.tokens[0, 0] += 1
    assert one.fingerprint != before


def test_texts_are_those_of_the_base() -> None:
    clip = tiny_clip()
    backbone = VisualTokens(clip, N)
    assert torch.equal(backbone.encode_text(["a cat"]), clip.encode_text(["a cat"]))
    assert backbone.text_tower.width == clip.text_tower.width
    assert backbone.logit_scale == clip.logit_scale


@pytest.mark.parametrize("name", ["insight_eva02", "insight_dinov3"])
def test_rotary_positions_are_refused(name: str) -> None:
    with pytest.raises(InsightError, match="rotary"):
        VisualTokens(timm_toy(name), N)


def test_single_blocks_and_no_tokens_are_refused() -> None:
    with pytest.raises(InsightError, match="a single block"):
        VisualTokens(tiny_clip(layers=1), N)
    with pytest.raises(InsightError, match="at least 1, found 0"):
        VisualTokens(tiny_clip(), 0)


def test_the_tower_keeps_what_training_does_not_change() -> None:
    clip, images = tiny_clip(), torch.rand(2, 3, 64, 64)
    tower = TokenTower(clip, N)
    kept = tower.keep(images)
    torch.testing.assert_close(kept, clip.prefix(images, 0))
    with torch.no_grad():
        tower.backbone.tokens.normal_(generator=torch.Generator().manual_seed(0))
    assert torch.equal(tower.keep(images), kept)
    same(tower.features(kept), tower.backbone.encode_image(images))
    assert {name for name, value in tower.named_parameters() if value.requires_grad} == {"backbone.tokens"}
    assert not any(value.requires_grad for value in clip.parameters())


def test_gradients_of_the_tokens_are_those_of_finite_differences() -> None:
    tower, random = TokenTower(tiny_clip().double(), N), torch.Generator().manual_seed(0)
    kept = tower.keep(torch.rand(2, 3, 64, 64, generator=random, dtype=torch.float64))
    weights = torch.randn(2, 24, generator=random, dtype=torch.float64)
    tokens = tower.backbone.tokens

    def value() -> Tensor:
        return (tower.vectors(kept).pooled * weights).sum()

    value().backward()
    assert tokens.grad is not None
    step = 1e-5
    for i, j in [(0, 0), (1, 17), (2, 47)]:
        found = []
        for sign in (1, -1):
            with torch.no_grad():
                tokens[i, j] += sign * step
                found.append(float(value()))
                tokens[i, j] -= sign * step
        assert (found[0] - found[1]) / (2 * step) == pytest.approx(float(tokens.grad[i, j]), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("explainer", [GradCAM(), GradCAM(layer=1), M2IB(layer=1, steps=2, samples=2)])
def test_explainers_draw_maps_of_it(explainer: GradCAM | M2IB, photos: Tensor) -> None:
    maps = explainer(VisualTokens(tiny_clip(), N), photos, ["a cat", "a dog"])
    assert maps.shape == (2, 2, 64, 96)
    assert bool(maps.isfinite().all())
    assert float(maps.std()) > 0
