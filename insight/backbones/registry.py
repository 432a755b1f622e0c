"""From a backbone's name to the backbone; `names.parse` has the grammar. Says what it downloads before it does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from sae.errors import InsightError

from .base import Backbone
from .layers import Layer
from .names import Name, meant, parse


def load(name: str, device: torch.device | str = "cpu") -> Backbone:
    """The frozen backbone of that name, in evaluation mode on `device`; unknown names raise `InsightError`.

    - `small`: the offline default (DINOv2 ViT-S/14 aligned to MiniLM's text space by a bridge of this project).
    - `openclip:MODEL/PRETRAINED`: an open_clip model by its own names, e.g. `openclip:ViT-B-16/laion2b_s34b_b88k`;
      PRETRAINED may be the path of a checkpoint. Also `openclip:hf-hub:ORG/NAME` and `openclip:local-dir:PATH`.
    - `openclip:…+WAY`: the same with another way to dense patches than the value path: tokens, sclip, clearclip, dino
      or dinoiser. +dino works behind any name.
    - `timm:MODEL`: a timm model by its own name, vision only, e.g. `timm:vit_base_patch16_224.dino`.
    - `NAME@BLOCK`: the tokens that go into that block of one of these, counted from 0, e.g. `small@6`; vision only.

    Weights that are not on this machine are downloaded; a line on standard error says from where and how many MB.
    `insight backbones` lists the names.
    """
    return load_together([name], device)[0]


def load_together(names: Sequence[str], device: torch.device | str = "cpu") -> list[Backbone]:
    """The backbones of those names, in their order, as `load` gives each; those with the same weights share them."""
    bases: dict[Name, Backbone] = {}
    found: list[Backbone] = []
    for name in [parse(text) for text in names]:
        base = _base(name.base, bases)
        backbone = base if name.block is None else Layer(base, name.block)
        found.append(backbone.freeze().to(device))
    return found


def _base(name: Name, bases: dict[Name, Backbone]) -> Backbone:
    """The backbone of a name without block, loaded if it is not among `bases` yet."""
    if name not in bases:
        bases[name] = _pooled(name, bases) if name.way in ("dino", "dinoiser") else _load(name)
    return bases[name]


def _pooled(name: Name, bases: dict[Name, Backbone]) -> Backbone:
    """The value path's patches, pooled."""
    base = _base(replace(name, way="value"), bases)
    if name.way == "dino":
        from .guided.dino import load_dino

        return load_dino(base)
    from .guided.dinoiser import load_dinoiser

    return load_dinoiser(base)


def _load(name: Name) -> Backbone:
    if name.kind == "small":
        from .small import load_small

        return load_small()
    if name.kind == "timm":
        from .timm_models.vision import load_timm

        _check_timm(name)
        _announce(name)
        return load_timm(name.source)
    from .openclip.loading import load_openclip

    _announce(name)
    return load_openclip(name.source, name.way)


def _check_timm(name: Name) -> None:
    """`InsightError` for a model, or weights of it, that timm does not know."""
    import timm

    if not timm.is_model(name.model):
        raise InsightError(
            f"timm has no model {name.model!r}{meant(name.model, timm.list_models())}; `insight backbones WORD` lists"
            " those with the word in their name"
        )
    if not name.untrained and not timm.is_model_pretrained(name.model):
        architecture = name.model.partition(".")[0]
        trained = timm.list_pretrained(f"{architecture}.*")
        raise InsightError(
            f"timm has no weights called {name.model!r}{meant(name.model, trained)}; of {architecture} it has"
            f" {', '.join(trained[:8]) or 'none'}"
        )


def _announce(name: Name) -> None:
    """One line on standard error about what loading will download; nothing when it is here, or known to be nowhere.

    `InsightError` when what is here is not whole.
    """
    from huggingface_hub import constants

    from .catalogue import describe
    from .places import check_whole, place_of

    if name.untrained:
        return
    place = place_of(name)
    if place.here is not None:
        for file in sorted(place.here.glob("*.safetensors")) if place.here.is_dir() else [place.here]:
            check_whole(file, str(name))
    elif place.downloadable and not constants.HF_HUB_OFFLINE:
        megabytes = describe(name).megabytes
        size = f"about {megabytes} MB" if megabytes else "an amount not known here"
        print(f"{name}: not on this machine; {size} to download from {place.origin}", file=sys.stderr, flush=True)
