"""Learned upsamplers of other projects, where their users have installed them: one table, one call.

Each is a repository of torch.hub with its own weights. Nothing is ever downloaded here, because torch.hub runs what it
downloads: the user says so once, by the line that the error of `learned_upsampler` shows, and then the code lies in
torch.hub's folder and the weights in its `checkpoints` (or in the Hugging Face cache), where they are looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.errors import InsightError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Learned:
    """One upsampler. All of them want the photo with ImageNet's colours, and differ in the order of what they take.

    repository, entry: where torch.hub has it; weights: file in torch.hub's checkpoints, or of the Hugging Face
    repository `hub`; dim: width of the features it was trained for (None: any features, concept maps too).
    """

    repository: str
    entry: str
    weights: str
    hub: str | None = None
    dim: int | None = None

    @property
    def how_to_install(self) -> str:
        """The line of Python that downloads code and weights, for the user to run."""
        return f"torch.hub.load({self.repository!r}, {self.entry!r})"

    def call(self, model: Any, maps: Tensor, photo: Tensor) -> Tensor:
        """Run it on maps [B, C, h, w] and a photo [B, 3, H, W] with its colours normalised."""
        if self.hub:
            return model(maps, photo)  # LoftUp
        if self.entry == "naf":
            return model(photo, maps, tuple(photo.shape[2:]))
        return model(photo, maps)  # AnyUp


_LOFTUP = {
    "dinov2s": 384, "dinov2s_reg": 384, "dinov2b": 768, "dinov2b_reg": 768, "clip": 512, "siglip": 768, "siglip2": 768,
}  # fmt: skip
LEARNED: dict[str, Learned] = {
    "anyup": Learned("wimmerth/anyup", "anyup_multi_backbone", "anyup_multi_backbone.pth"),
    "naf": Learned("valeoai/NAF", "naf", "naf_release.pth"),
    **{
        f"loftup_{encoder}": Learned(
            "andrehuang/loftup", f"loftup_{encoder}", "pytorch_model.bin", f"haiwen/loftup-{encoder}", dim
        )
        for encoder, dim in _LOFTUP.items()
    },
}


def learned_upsampler(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The upsampler of that name in `LEARNED`: a function of (maps [B, C, h, w], photo [B, 3, H, W] in [0, 1]).

    `InsightError` where it is not installed (the message says how), does not load, or was trained for features of
    another width.
    """
    learned = LEARNED[name]

    def run(maps: Tensor, photo: Tensor) -> Tensor:
        if learned.dim not in (None, maps.shape[1]):
            raise InsightError(
                f"{name} upsamples features of {learned.dim} values, found {maps.shape[1]}; anyup and naf take any"
            )
        mean, std = (photo.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return learned.call(_load(name).to(maps.device), maps, (photo - mean) / std)

    return run


@lru_cache(maxsize=1)
def _load(name: str) -> Any:
    learned = LEARNED[name]
    code, weights = _code(learned), _weights(learned)
    if code is None or weights is None:
        missing = "its code" if code is None else f"its weights ({learned.weights})"
        raise InsightError(
            f"{name} is not installed ({missing} not found in {torch.hub.get_dir()}"
            f"{' or the Hugging Face cache' if learned.hub else ''}); run {learned.how_to_install} once yourself"
        )
    try:
        model = torch.hub.load(str(code), learned.entry, source="local", pretrained=False)
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:  # code of others: missing packages, damaged files, anything
        raise InsightError(
            f"{name}: could not be loaded from {code} and {weights} ({type(error).__name__}: {str(error)[:120]!r});"
            f" see {learned.repository} on GitHub for what it needs, or run {learned.how_to_install} again"
        ) from None
    return model.requires_grad_(False).eval()


def _code(learned: Learned) -> Path | None:
    """The repository as torch.hub unpacked it: OWNER_NAME_BRANCH."""
    found = Path(torch.hub.get_dir()).glob(f"{learned.repository.replace('/', '_')}_*/hubconf.py")
    return next((file.parent for file in sorted(found)), None)


def _weights(learned: Learned) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if learned.hub:
        cached = try_to_load_from_cache(learned.hub, learned.weights)
        return Path(cached) if isinstance(cached, str) else None
    file = Path(torch.hub.get_dir()) / "checkpoints" / learned.weights
    return file if file.is_file() else None
