"""The one signature of everything that says where in a photo a text stands: (model, images, texts) to maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..backbones import Backbone
from .scorer import Explainable, Scorer, scorer_of


class Explainer(ABC):
    """Sub-classes are frozen dataclasses of their settings, and write `maps`.

    The same settings give the same maps, whatever photos and texts are asked beside; the model is left as it was
    found: its weights, their gradients and `requires_grad`, its hooks and its mode.
    """

    name: str
    """As on the command line."""

    @abstractmethod
    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        """How much each place speaks for each text, on whatever grid the method has; larger is more."""

    def __call__(
        self, model: Explainable | Backbone, images: Float[Tensor, "B 3 H W"], texts: Sequence[str]
    ) -> Float[Tensor, "B T H W"]:
        """Maps of photos in [0, 1] for every text, detached, drawn out bilinearly to their pixels; not rescaled."""
        maps = self.maps(scorer_of(model, texts), images).detach()
        return F.interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)
