"""What `insight.backbones.load` can be asked for: sizes, licences, where the weights are now. No network, no weights.

Figures come from the libraries' configurations; those that only a built model knows (bytes, and the patches of some
towers) come from one without values, on torch's meta device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sae.files import read_json

from .names import HELD_ELSEWHERE, Name
from .places import Place, in_hub_cache, place_of, place_of_set

BYTES = 4  # of a weight: nearly all published files are float32
OPENCLIP_CONFIG = "open_clip_config.json"


@dataclass(frozen=True)
class Entry:
    """One backbone. None: not known without its weights, or not worked out (see `find`).

    name: for `load`; dim: values of a patch; grid: (h, w) at image_size; image_size: side in pixels; text: whether it
    has a text tower; megabytes: of its files, about; licence: of the weights, as far as the library's configuration
    knows; origin: what has the weights; here: where they lie on this machine, None when they would be downloaded.
    """

    name: str
    dim: int | None
    grid: tuple[int, int] | None
    image_size: int | None
    text: bool
    megabytes: int | None
    licence: str
    origin: str
    here: str | None
    kept_by: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def known_names() -> Iterator[Name]:
    """Every model that has weights: `small`, open_clip's MODEL/PRETRAINED, timm's models."""
    import open_clip
    import timm

    yield Name("small")
    for model, tag in open_clip.list_pretrained():
        yield Name("openclip", model, tag)
    for model in timm.list_pretrained():
        yield Name("timm", model)


def find(words: str = "") -> list[Name]:
    """The known names that hold each of the words, small and capital letters alike."""
    wanted = words.casefold().split()
    return [name for name in known_names() if all(word in str(name).casefold() for word in wanted)]


def describe(name: Name, measured: bool = True) -> Entry:
    """What is known of a backbone. measured: build its shape (up to a second) for figures that no configuration has."""
    if name.kind == "small":
        return _describe_small()
    place = place_of(name)
    if name.kind == "timm":
        return _describe_timm(name, place, measured)
    return _describe_openclip(name, place, measured)


def _describe_small() -> Entry:
    from .small.dinov2 import DINOV2_S, IMAGE_SIZE, PATCH
    from .small.minilm import DIM, MINILM

    places = [place_of_set(weights) for weights in (DINOV2_S, MINILM)]
    here = all(place.here for place in places)
    return Entry(
        name="small",
        dim=DIM,
        grid=(IMAGE_SIZE // PATCH, IMAGE_SIZE // PATCH),
        image_size=IMAGE_SIZE,
        text=True,
        megabytes=DINOV2_S.megabytes + MINILM.megabytes,
        licence="apache-2.0",  # DINOv2 and all-MiniLM-L6-v2 on their hub pages, and the bridge of this project
        origin="; ".join(place.origin for place in places),
        here="; ".join(str(place.here) for place in places) if here else None,
        kept_by=" and ".join(dict.fromkeys(place.kept_by for place in places)) if here else "",
    )


def _describe_openclip(name: Name, place: Place, measured: bool) -> Entry:
    config = _openclip_config(name)
    vision = config.get("vision_cfg", {})
    image_size = _side(vision.get("image_size"))
    patch, megabytes = vision.get("patch_size"), None
    if isinstance(vision.get("layers"), list):
        patch = 32  # a ResNet's last map
    if measured and (model := _openclip_shape(config)) is not None:
        megabytes = _megabytes(model)
        patch = patch or _timm_patch(getattr(model.visual, "trunk", None))
    return Entry(
        name=str(name),
        dim=config.get("embed_dim"),
        grid=_grid(image_size, patch),
        image_size=image_size,
        text=True,
        megabytes=megabytes,
        licence=f"see {place.origin}",
        origin=place.origin,
        here=str(place.here) if place.here else None,
        kept_by=place.kept_by if place.here else "",
    )


def _describe_timm(name: Name, place: Place, measured: bool) -> Entry:
    import timm

    config = timm.get_pretrained_cfg(name.model)
    image_size = int(config.input_size[-1]) if config else None
    model: Any = None
    if measured:
        with suppress(Exception), torch.device("meta"):  # a few models compute with values while they are built
            model = timm.create_model(name.model, pretrained=False)
    return Entry(
        name=str(name),
        dim=model.num_features if model is not None else None,
        grid=_grid(image_size, _timm_patch(model)),
        image_size=image_size,
        text=False,
        megabytes=None if model is None else _megabytes(model),
        licence=(config.license if config else None) or f"see {place.origin}",
        origin=place.origin,
        here=str(place.here) if place.here else None,
        kept_by=place.kept_by if place.here else "",
    )


def _openclip_config(name: Name) -> dict[str, Any]:
    """The model's configuration, empty when it is not on this machine."""
    import open_clip

    schema, _, rest = name.model.partition(":")
    if not name.model.startswith(HELD_ELSEWHERE):
        return open_clip.get_model_config(name.model) or {}
    file = Path(rest).expanduser() / OPENCLIP_CONFIG if schema == "local-dir" else in_hub_cache(rest, [OPENCLIP_CONFIG])
    return read_json(file).get("model_cfg", {}) if file and file.is_file() else {}


def _openclip_shape(config: dict[str, Any]) -> Any:
    """The model without values, or None when its text tower's configuration lies on the hub."""
    from open_clip import CLIP, CoCa, CustomTextCLIP

    if not config or "hf_model_name" in config["text_cfg"]:
        return None
    kind = CoCa if "multimodal_cfg" in config else CustomTextCLIP if config.get("custom_text") else CLIP
    with suppress(Exception), torch.device("meta"):
        return kind(**{key: value for key, value in config.items() if key != "custom_text"})
    return None


def _timm_patch(model: Any) -> int | None:
    """Pixels from one patch to the next in what the model's `forward_features` gives."""
    maps = getattr(model, "feature_info", None)
    return int(maps[-1]["reduction"]) if maps else None


def _grid(image_size: int | None, patch: int | None) -> tuple[int, int] | None:
    return (image_size // patch, image_size // patch) if image_size and patch else None


def _side(size: Any) -> int | None:
    return int(size[0]) if isinstance(size, (list, tuple)) else size


def _megabytes(model: Any) -> int:
    return round(sum(tensor.numel() for tensor in model.state_dict().values()) * BYTES / 1e6)
