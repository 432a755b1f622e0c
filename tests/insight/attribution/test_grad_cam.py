"""Grad-CAM equals its definition with derivatives by differences, in transformers and in networks without blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from insight.attribution import Scorer, scorer_of
from insight.attribution.grad_cam import GradCAM
from insight.backbones import Backbone, load
from insight.backbones.guided import Guided
from insight.backbones.openclip import load_openclip
from sae.errors import InsightError

from ..backbones.timm_models import toys  # noqa: F401 (registers the tiny timm models)
from ..random_models import Pixels
from ..tiny_clip import tiny_clip
from .by_hand import ByHand, slope

TEXTS = ["a cat", "a dog on grass"]
TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
RESNET = {"image_size": 96, "layers": [1, 1, 1, 1], "width": 2, "head_width": 64}
TIMM = {"timm_pool": "", "timm_proj": "linear"}
MAPPED = {
    "resnet": (RESNET, (3, 3)),
    "swin": ({**TIMM, "timm_model_name": "insight_swin", "image_size": 64}, (2, 2)),
    "fastvit": ({**TIMM, "timm_model_name": "insight_fastvit", "image_size": 64}, (2, 2)),
}


def convolutional(folder: Path, name: str) -> Backbone:
    """A tiny model without blocks, in float64, every weight off its start."""
    import open_clip

    config = {"embed_dim": 24, "vision_cfg": MAPPED[name][0], "text_cfg": TEXT}
    (folder / f"insight-cam-{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    backbone = load_openclip(f"insight-cam-{name}/").freeze()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return backbone.double()


def both_ways(backbone: Backbone) -> Scorer:
    """Scores of a direction and of its opposite: wherever one map is 0 by its ReLU, the other is not."""
    vector = torch.randn(1, backbone.dim, dtype=torch.float64)
    vectors = F.normalize(torch.cat([vector, -vector]), dim=1)
    return Scorer(backbone, ("it", "its opposite"), lambda features: F.normalize(features.pooled, dim=1) @ vectors.T)


def cam(score: Any, z: Tensor, first: int = 0) -> Tensor:
    """[T, P] by definition, z [N, C] with patches from row `first` on: the mean gradient of a channel is what the score
    gains when all patches rise in it, over their number."""
    weighted = torch.zeros(len(TEXTS), len(z) - first, dtype=torch.float64)
    for channel in range(z.shape[1]):
        all_patches = torch.zeros_like(z)
        all_patches[first:, channel] = 1
        gain = slope(score, z, all_patches) / (len(z) - first)
        weighted += gain[:, None] * z[first:, channel]
    return weighted.clamp_min(0)


@pytest.mark.parametrize("layer", [None, 1])
def test_a_transformer_s_map_is_of_the_tokens_that_go_into_the_block(layer: int | None) -> None:
    backbone, photos = tiny_clip(seed=6), torch.rand(2, 3, 64, 64)
    hand, block = ByHand(backbone, backbone.encode_text(TEXTS)), 3 if layer is None else layer
    maps = GradCAM(layer).maps(scorer_of(backbone, TEXTS), photos)
    assert maps.shape == (2, 2, 4, 4)
    for photo, found in zip(photos, maps, strict=True):
        wanted = cam(lambda z: hand.from_tokens(z, block), hand.tokens_into(photo, block), first=1)
        torch.testing.assert_close(found.flatten(1).double(), wanted, rtol=1e-3, atol=1e-6)


def test_a_resnet_s_map_is_of_its_last_stage(tmp_path: Path) -> None:
    backbone = convolutional(tmp_path, "resnet")
    scorer, photo = both_ways(backbone), torch.rand(1, 3, 96, 96, dtype=torch.float64)
    maps = GradCAM().maps(scorer, photo)
    stage, seen, given = backbone.model.visual.layer4, [], []
    hook = stage.register_forward_hook(lambda module, args, out: given[-1] if given else seen.append(out))
    scorer(photo)
    rows = seen[0][0].flatten(1).T

    def score(rows: Tensor) -> Tensor:
        given[:] = [rows.T.reshape(seen[0].shape)]
        return scorer(photo)[0]

    wanted = cam(score, rows)
    hook.remove()
    assert float(wanted.max()) > 0
    torch.testing.assert_close(maps[0].flatten(1), wanted, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", sorted(MAPPED))
def test_convolutional_towers_have_maps_that_no_companion_changes(name: str, tmp_path: Path) -> None:
    backbone, (vision, grid) = convolutional(tmp_path, name), MAPPED[name]
    photos = torch.rand(3, 3, vision["image_size"], vision["image_size"], dtype=torch.float64)
    scorer = both_ways(backbone)
    maps = GradCAM().maps(scorer, photos)
    assert maps.shape == (3, 2, *grid)
    assert float(maps.max()) > 0
    torch.testing.assert_close(GradCAM().maps(scorer, photos[1:2]), maps[1:2])
    assert not any(module._forward_hooks for module in backbone.modules())


def test_a_resnet_s_patches_are_what_is_weighed_where_scores_are_made_from_them(tmp_path: Path) -> None:
    backbone, photo = convolutional(tmp_path, "resnet"), torch.rand(1, 3, 96, 96, dtype=torch.float64)
    vectors = torch.randn(2, 24, dtype=torch.float64)
    scorer = Scorer(backbone, ("a", "b"), lambda f: F.normalize(f.patches.mean(1), dim=1) @ vectors.T)
    patches = backbone.encode_image(photo).patches[0]
    wanted = cam(lambda z: vectors @ F.normalize(z.mean(0), dim=0), patches)
    torch.testing.assert_close(GradCAM().maps(scorer, photo)[0].flatten(1), wanted, rtol=1e-5, atol=1e-8)


def test_where_scores_are_made_from_patches_these_are_what_is_weighed() -> None:
    backbone, photo = Pixels().double(), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    vectors = backbone.encode_text(TEXTS).double()
    scorer = Scorer(backbone, tuple(TEXTS), lambda f: F.normalize(f.pooled, dim=1) @ vectors.T)
    patches = backbone.encode_image(photo).patches[0]
    wanted = cam(lambda z: vectors @ F.normalize(z.mean(0), dim=0), patches)
    torch.testing.assert_close(GradCAM().maps(scorer, photo)[0].flatten(1), wanted, rtol=1e-6, atol=1e-9)


def test_a_guided_backbone_sends_one_to_its_base() -> None:
    guided = Guided(tiny_clip(), load("timm:insight_mobileclip/"))
    with pytest.raises(InsightError, match=r"insight-tiny/\+dino has no blocks .* use openclip:insight-tiny/"):
        GradCAM()(guided, torch.rand(1, 3, 64, 64), TEXTS)


@pytest.mark.parametrize("layer", [4, -1])
def test_a_layer_that_is_none_is_refused(layer: int) -> None:
    with pytest.raises(InsightError, match="has blocks 0 to 3"):
        GradCAM(layer)(tiny_clip(), torch.rand(1, 3, 64, 64), TEXTS)
    with pytest.raises(InsightError, match="has no transformer blocks"):
        GradCAM(layer)(Pixels(), torch.rand(1, 3, 16, 16), TEXTS)


def test_scores_that_depend_on_nothing_are_refused() -> None:
    scorer = Scorer(tiny_clip(), ("a",), lambda features: torch.zeros(len(features.pooled), 1))
    with pytest.raises(InsightError, match="do not depend"):
        GradCAM().maps(scorer, torch.rand(1, 3, 64, 64))
