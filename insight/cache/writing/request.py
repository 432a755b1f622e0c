"""What is asked of one cache: which images, which backbone, how its features are kept. A rerun must ask the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sae.errors import InsightError

from ...backbones import Backbone
from ..format.dtypes import check_dtype
from ..format.manifest import Manifest
from ..format.shard import Form


@dataclass(frozen=True)
class Request:
    """source: name, kind and place of where the images come from; tokens: patches kept of each image (None: all), drawn
    by `seed`; classes: names of the masks' classes; shard_images: images read for a shard; batch_size: images a forward
    pass. `InsightError` when a value makes no sense."""

    source: dict[str, str]
    backbone: Backbone
    dtype: str
    tokens: int | None
    seed: int
    classes: tuple[str, ...]
    shard_images: int
    batch_size: int

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        for name in ("shard_images", "batch_size"):
            if getattr(self, name) < 1:
                raise InsightError(f"{name}: expected at least 1, found {getattr(self, name)}")
        if self.tokens is not None and not 1 <= self.tokens <= self.grid_size:
            raise InsightError(
                f"tokens: expected from 1 to {self.grid_size}, the patches that backbone {self.backbone.name} has of an"
                f" image, found {self.tokens}"
            )

    @property
    def grid_size(self) -> int:
        """Patches of an image."""
        height, width = self.backbone.grid
        return height * width

    @property
    def form(self) -> Form:
        """Of the shards."""
        tokens = self.tokens or self.grid_size
        return Form(tokens, self.backbone.dim, self.dtype, tokens < self.grid_size, bool(self.classes))

    @property
    def device(self) -> torch.device:
        """Where the backbone is."""
        return next((weight.device for weight in self.backbone.parameters()), torch.device("cpu"))

    @property
    def kept(self) -> dict[str, Any]:
        """What the images of a cache have in common, and images that are appended must share."""
        form, backbone = self.form, self.backbone
        return {
            "backbone": {
                "name": backbone.name,
                "description": backbone.description,
                "fingerprint": backbone.fingerprint,
                "dim": backbone.dim,
                "grid": list(backbone.grid),
                "image_size": backbone.image_size,
            },
            "dtype": self.dtype,
            "tokens": form.tokens,
            "classes": list(self.classes),
        } | ({"seed": self.seed} if form.has_positions else {})

    @property
    def manner(self) -> dict[str, Any]:
        """How images are put into batches and shards."""
        return {"shard_images": self.shard_images, "batch_size": self.batch_size}

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that a run must share with the one it goes on from."""
        return {"source": self.source, **self.kept, **self.manner}

    def check_finished(self, folder: Path, made: Manifest, *, append: bool) -> None:
        """`InsightError` unless the finished cache in `folder` was made so; to append, only `kept` must agree."""
        there = {"backbone": made.backbone, "dtype": made.dtype, "tokens": made.tokens_per_image} | {
            "classes": list(made.classes)
        }
        wanted = self.kept if append else self.kept | self.manner
        check_settings(folder, there | {name: made.settings.get(name) for name in wanted.keys() - there.keys()}, wanted)


def check_settings(out: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """`InsightError` that says what differs, if anything does."""
    there, wanted = _flat(found), _flat(asked)
    differing = [
        f"{name} is {there.get(name)!r} there and {wanted.get(name)!r} now"
        for name in sorted(there.keys() | wanted.keys())
        if there.get(name) != wanted.get(name)
    ]
    if differing:
        raise InsightError(
            f"{out}: holds a cache made with other settings: {'; '.join(differing)}; repeat those settings, write to"
            " another folder, or delete this one"
        )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
