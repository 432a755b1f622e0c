"""`openclip:NAME`: from open_clip's names to a backbone, by open_clip's own loader.

- `MODEL/TAG`: one of its models with weights that it knows, e.g. `ViT-B-16/laion2b_s34b_b88k`.
- `MODEL/PATH`: one of its models with a checkpoint on this machine (safetensors preferred; other files are read as
  tensors alone, never unpickled).
- `hf-hub:ORG/NAME` and `local-dir:PATH`: a repository of the hub or a folder that holds `open_clip_config.json` and the
  weights, both as open_clip itself knows them from release 3.0 on.
- `MODEL/` (nothing behind the slash): seeded random weights, for tests, never for results.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sae.errors import InsightError

from ..base import short
from ..names import meant
from ..weight_sources import impatient_hub
from .model import OpenClipModel

SCHEMES = ("hf-hub", "local-dir")
HINT = "or use `small`"


@dataclass(frozen=True)
class _Source:
    """What a name stands for: open_clip's own two arguments, the file or folder of the weights, the settings."""

    model: str
    pretrained: str | None
    file: Path | None
    config: Mapping[str, Any]

    @property
    def trained(self) -> bool:
        return self.pretrained is not None or ":" in self.model

    @property
    def needs_hub(self) -> bool:
        """Whether open_clip asks the hub for weights, for a text tower's settings or for a tokenizer."""
        weights = self.model.startswith("hf-hub:") or (self.pretrained is not None and self.file is None)
        text = self.config["text_cfg"]
        return weights or bool(text.get("hf_tokenizer_name") or text.get("hf_model_name"))


def load_openclip(name: str, way: str = "value") -> OpenClipModel:
    """The open_clip model of that name; `way` is how it makes dense patches, one of `model.WAYS`.

    `InsightError` if the name is unknown, the tower gives no dense patches (by that way), or the weights cannot be had.
    """
    import open_clip

    source = _find(name)
    vision = source.config["vision_cfg"]
    tower = _tower(vision)
    tower.check_way(name, way)
    tower.check_config(name, vision)
    # Some weights were trained with the quick form of GELU, which the architecture's name need not say.
    tag = open_clip.get_pretrained_cfg(source.model, source.pretrained) if source.pretrained else None
    try:
        with torch.random.fork_rng(devices=[]), impatient_hub() if source.needs_hub else nullcontext():
            torch.manual_seed(0)
            model = open_clip.create_model(
                source.model,
                pretrained=source.pretrained,
                force_quick_gelu=bool((tag or {}).get("quick_gelu")),
                pretrained_hf=False,  # a text tower's weights are part of the checkpoint
                require_pretrained=source.trained,
            )
            tokenizer = open_clip.get_tokenizer(source.model)
    except Exception as error:  # open_clip's loader raises the hub client's, the HTTP library's and its own errors
        raise InsightError(f"openclip:{name}: {_why(source, error)}") from None
    return tower(name, model, tokenizer, way)


def _tower(vision: Mapping[str, Any]) -> type[OpenClipModel]:
    """The class for vision towers of these settings (`vision_cfg`)."""
    from .vit import OpenClip, PoolerOpenClip

    if vision.get("timm_model_name"):
        from .timm_towers import tower_class

        return tower_class(vision)
    if isinstance(vision.get("layers"), (list, tuple)):
        from .resnet import ResNetTower

        return ResNetTower
    return PoolerOpenClip if vision.get("attentional_pool") else OpenClip


def _find(name: str) -> _Source:
    """What stands behind a name, from this machine alone but for `hf-hub:`. `InsightError` if nothing does."""
    import open_clip

    scheme, _, place = name.partition(":")
    if scheme in SCHEMES:
        return _find_by_scheme(name, scheme, place)
    model, slash, pretrained = name.partition("/")
    known = open_clip.list_models()
    if model not in known:
        raise InsightError(
            f"open_clip has no model {model!r}{meant(model, known)}; `insight backbones WORD` lists those with the word"
            " in their name"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not slash:
        raise InsightError(f"expected openclip:MODEL/PRETRAINED, found openclip:{name}; trained are {_some(tags)}")
    config = open_clip.get_model_config(model)
    if not pretrained or open_clip.get_pretrained_cfg(model, pretrained):
        return _Source(model, pretrained or None, None, config)
    path = Path(pretrained).expanduser()
    if path.is_file():
        return _Source(model, str(path), path, config)
    if path.suffix or len(path.parts) > 1:
        raise InsightError(
            f"openclip:{name}: there is no file {path}; give the path of a checkpoint of {model} (safetensors"
            f" preferred) or one of the weights that open_clip knows: {_some(tags)}"
        )
    raise InsightError(
        f"open_clip has no weights {pretrained!r} for {model}{meant(pretrained, tags)}; it has {_some(tags)}; a path of"
        " a checkpoint on this machine works too"
    )


def _find_by_scheme(name: str, scheme: str, place: str) -> _Source:
    import open_clip

    if not hasattr(open_clip.factory, "parse_model_name"):
        raise InsightError(
            f"openclip:{name}: open_clip {open_clip.__version__} does not know {scheme}: names; update it"
            " (pip install 'open_clip_torch>=3.0')"
        )
    folder = Path(place).expanduser() if scheme == "local-dir" else None
    if folder is not None:
        inside = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        weights = any(Path(file).suffix in (".safetensors", ".bin", ".pth") for file in inside)
        if "open_clip_config.json" not in inside or not weights:
            raise InsightError(
                f"openclip:{name}: expected a folder with open_clip_config.json and a checkpoint (.safetensors, .bin,"
                f" .pth), found {len(inside)} files and not both in {folder}; a checkpoint alone is"
                " openclip:MODEL/PATH"
            )
    model = f"{scheme}:{folder or place}"
    try:
        with impatient_hub() if folder is None else nullcontext():
            config = open_clip.get_model_config(model)
        config["vision_cfg"], config["text_cfg"]
    except Exception as error:  # the hub client's, the HTTP library's, the system's and the JSON reader's errors
        raise InsightError(
            f"openclip:{name}: {folder or 'the hub'} gives no open_clip_config.json with vision_cfg and text_cfg"
            f" ({short(error)}); check the name, or go online once so that open_clip can fetch it, {HINT}"
        ) from None
    return _Source(model, None, folder, config)


def _some(tags: list[str]) -> str:
    return (", ".join(tags[:5]) + (", ..." if len(tags) > 5 else "")) or "none"


def _why(source: _Source, error: Exception) -> str:
    """Why the loader failed and what to do, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if isinstance(error, ImportError):
        return f"needs a package that is not installed ({lines[0][:120]}); pip install transformers sentencepiece"
    if source.file is None:
        what = "check the name, or go online once so that open_clip can fetch it"
        return f"could not be loaded ({short(error)}); {what}, {HINT}"
    if "state_dict" in lines[0] and len(lines) > 1:
        return f"{source.file} holds the weights of another model ({lines[1][:120]}); name the model it was made for"
    if type(error).__name__ == "UnpicklingError" or "TorchScript" in lines[0]:
        return (
            f"{source.file} is no plain file of tensors and is not unpickled; save the state dict of its model as"
            " safetensors"
        )
    return f"{source.file} could not be read ({short(error)}); it may be half a download: fetch it again"
