"""Every explainer: by its name, alone or in company, with gradients off, and without a trace in the model."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from insight.attribution import Explainer
from insight.attribution.explainers import NAMES, explainer
from insight.attribution.grad_cam import GradCAM
from insight.attribution.rise import RISE
from insight.backbones import Backbone
from sae.errors import InsightError

from ..tiny_clip import tiny_clip

TEXTS = ["a cat", "a dog on grass", "sky"]
QUICK: dict[str, dict[str, Any]] = {
    "rise": {"masks": 6},
    "m2ib": {"samples": 2, "steps": 2},
    "captum:integrated_gradients": {"steps": 4},
}


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return tiny_clip()


@pytest.fixture
def photos() -> Tensor:
    return torch.rand(2, 3, 64, 64)


def quick(name: str) -> Explainer:
    return explainer(name, **QUICK.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_an_explainer_has_the_name_it_is_asked_by(name: str) -> None:
    assert quick(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_photos_size_and_no_graph(name: str, clip: Backbone, photos: Tensor) -> None:
    maps = quick(name)(clip, photos, TEXTS)
    assert maps.shape == (2, 3, 64, 64)
    assert not maps.requires_grad
    assert bool(maps.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_photos_and_texts_beside_change_no_map(name: str, clip: Backbone, photos: Tensor) -> None:
    maps = quick(name)(clip, photos, TEXTS)
    alone = quick(name)(clip, photos[1:], TEXTS[2:])
    torch.testing.assert_close(alone, maps[1:, 2:], rtol=1e-3, atol=1e-4 * float(maps.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_the_same_where_gradients_are_off(name: str, clip: Backbone, photos: Tensor) -> None:
    wanted = quick(name)(clip, photos, TEXTS)
    with torch.no_grad():
        assert torch.equal(quick(name)(clip, photos, TEXTS), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_and_the_photos_are_left_as_they_were(name: str, photos: Tensor) -> None:
    clip = tiny_clip()
    clip.blocks[1].mlp.add_module("dropout", nn.Dropout(0.5).eval())
    wanted = quick(name)(clip, photos, TEXTS)
    clip.train()
    trained = clip.blocks[1].mlp
    trained.requires_grad_(True)
    for parameter in trained.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {key: value.clone() for key, value in clip.state_dict().items()}
    copy = photos.clone()
    torch.testing.assert_close(quick(name)(clip, photos, TEXTS), wanted)
    assert all(module.training for module in clip.modules())
    assert {id(p) for p in clip.parameters() if p.requires_grad} == {id(p) for p in trained.parameters()}
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in trained.parameters())
    assert all(torch.equal(value, before[key]) for key, value in clip.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in clip.modules())
    assert torch.equal(photos, copy)
    assert not photos.requires_grad


def test_settings_reach_the_explainer() -> None:
    assert explainer("gradcam", layer=2) == GradCAM(2)
    assert explainer("rise", masks=8, keep=0.3) == RISE(masks=8, keep=0.3)
    assert {setting.name for setting in fields(explainer("m2ib"))} >= {"layer", "beta", "sigma", "steps", "samples"}


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("relevence", {}, r"no explainer is called 'relevence' \(did you mean relevance\?\)"),
        ("captum:salience", {}, r"did you mean captum:saliency\?"),
        ("concepts", {}, "needs a concept model"),
        ("rise", {"mask": 8}, r"rise: no setting 'mask' \(did you mean masks\?\)"),
        ("relevance", {"layer": 1}, "relevance: no setting 'layer'; expected none"),
        ("captum:saliency", {"method": "occlusion"}, "no setting 'method'"),
    ],
)
def test_unknown_names_and_settings_are_refused(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InsightError, match=said):
        explainer(name, **settings)
