"""From a backbone's name to the backbone: `small`, `openclip:MODEL/PRETRAINED`, `timm:MODEL`."""

from __future__ import annotations

import torch

from sae.errors import InsightError

from .base import Backbone


def load(name: str, device: torch.device | str = "cpu") -> Backbone:
    """The frozen backbone of that name, in evaluation mode on `device`; unknown names raise `InsightError`.

    - `small`: the offline default (DINOv2 ViT-S/14 aligned to MiniLM's text space by a bridge of this project).
    - `openclip:MODEL/PRETRAINED`: an open_clip model by its own names, e.g. `openclip:ViT-B-16/laion2b_s34b_b88k`.
    - `timm:MODEL`: a timm model by its own name, vision only, e.g. `timm:vit_base_patch16_224.dino`.
    """
    kind, _, rest = name.partition(":")
    if name == "small":
        from .small import load_small

        backbone: Backbone = load_small()
    elif kind == "openclip" and rest:
        from .openclip import load_openclip

        backbone = load_openclip(rest)
    elif kind == "timm" and rest:
        from .timm_vision import load_timm

        backbone = load_timm(rest)
    else:
        raise InsightError(f"no backbone is called {name!r}; expected small, openclip:MODEL/PRETRAINED or timm:MODEL")
    return backbone.freeze().to(device)
