"""From a backbone's name to the backbone: `small`, `openclip:MODEL/PRETRAINED`, `timm:MODEL`, and their NAME@BLOCK."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from sae.errors import InsightError

from .base import Backbone
from .layers import Layer

_LAYER = re.compile("([^@]+)@([0-9]{1,4})")


def load(name: str, device: torch.device | str = "cpu") -> Backbone:
    """The frozen backbone of that name, in evaluation mode on `device`; unknown names raise `InsightError`.

    - `small`: the offline default (DINOv2 ViT-S/14 aligned to MiniLM's text space by a bridge of this project).
    - `openclip:MODEL/PRETRAINED`: an open_clip model by its own names, e.g. `openclip:ViT-B-16/laion2b_s34b_b88k`.
    - `timm:MODEL`: a timm model by its own name, vision only, e.g. `timm:vit_base_patch16_224.dino`.
    - `NAME@BLOCK`: the tokens that go into that block of one of these, counted from 0, e.g. `small@6`; vision only.
    """
    return load_together([name], device)[0]


def load_together(names: Sequence[str], device: torch.device | str = "cpu") -> list[Backbone]:
    """The backbones of those names, in their order, as `load` gives each; those with the same weights share them."""
    bases: dict[str, Backbone] = {}
    found: list[Backbone] = []
    for name in names:
        layer = _LAYER.fullmatch(name)
        base_name = layer[1] if layer else name
        if base_name not in bases:
            bases[base_name] = _load_base(base_name)
        backbone = Layer(bases[base_name], int(layer[2])) if layer else bases[base_name]
        found.append(backbone.freeze().to(device))
    return found


def _load_base(name: str) -> Backbone:
    kind, _, rest = name.partition(":")
    if name == "small":
        from .small import load_small

        return load_small()
    if kind == "openclip" and rest:
        from .openclip import load_openclip

        return load_openclip(rest)
    if kind == "timm" and rest:
        from .timm_vision import load_timm

        return load_timm(rest)
    raise InsightError(
        f"no backbone is called {name!r}; expected small, openclip:MODEL/PRETRAINED or timm:MODEL, or one of these with"
        " @BLOCK for the tokens that go into a block (counted from 0), such as small@6"
    )
