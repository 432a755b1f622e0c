"""From photos to the vectors that methods read, in two steps: `keep`, which no training changes, and the rest.

What `keep` gives of a photo is computed once and kept over all epochs. Of a frozen encoder that is two vectors; of one
whose last blocks are trained, the tokens that go into the first of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sae.errors import InsightError

from ...backbones import Backbone, DenseFeatures, Transformer


@dataclass(frozen=True, eq=False)
class PhotoVectors:
    """Of B photos: `pooled`, the image vector, not of unit length; `local`, the mean of the patches' unit vectors.

    The product of `local` with a unit text vector is the mean cosine of the patches with the text.
    """

    pooled: Float[Tensor, "B d"]
    local: Float[Tensor, "B d"]

    @classmethod
    def of(cls, features: DenseFeatures) -> PhotoVectors:
        """From what a backbone sees."""
        return cls(features.pooled, F.normalize(features.patches, dim=-1).mean(1))

    @property
    def unit(self) -> Float[Tensor, "B d"]:
        """The image vector at unit length."""
        return F.normalize(self.pooled, dim=-1)


class Tower(nn.Module, ABC):
    """`backbone` is the encoder as it is now: what explainers and evaluation look at."""

    backbone: Backbone

    @abstractmethod
    def keep(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B ..."]:
        """What of photos in [0, 1] no training changes; without gradients."""

    @abstractmethod
    def vectors(self, kept: Float[Tensor, "B ..."]) -> PhotoVectors:
        """From what was kept, through whatever is trained."""

    def train(self, mode: bool = True) -> Tower:
        """The encoder stays in evaluation mode, whatever is trained of it: no dropout."""
        super().train(mode)
        self.backbone.eval()
        return self


class FrozenTower(Tower):
    """Nothing of the encoder is trained: [B, 2, d] is kept of a photo."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @torch.no_grad()
    def keep(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 2 d"]:
        return self.keep_features(self.backbone.encode_image(images))

    @staticmethod
    def keep_features(features: DenseFeatures) -> Float[Tensor, "B 2 d"]:
        """The same, of features that were computed before, such as a feature cache's."""
        vectors = PhotoVectors.of(features)
        return torch.stack([vectors.pooled, vectors.local], dim=1)

    def vectors(self, kept: Float[Tensor, "B 2 d"]) -> PhotoVectors:
        return PhotoVectors(*kept.unbind(1))


class TunedTower(Tower):
    """Something of the encoder from block `first` on is trained: the tokens that go into that block are kept.

    `backbone` is a frozen copy of the one given, of which some parameters are trained (`train_blocks`,
    `train_norms`); adapters change the copy. `InsightError` for an encoder without transformer blocks.
    """

    backbone: Transformer

    def __init__(self, backbone: Backbone, first: int = 0) -> None:
        super().__init__()
        if not isinstance(backbone, Transformer):
            raise InsightError(
                f"backbone {backbone.name} has no transformer blocks to train; train a method that leaves the encoder"
                " frozen (probe, coop, xcoop with frozen norms), or use a vision transformer"
            )
        backbone.check_block(first)
        copy = deepcopy(backbone)
        copy.__dict__.pop("fingerprint", None)
        copy.name = f"{backbone.name} (tuned)"
        copy.requires_grad_(False)
        self.backbone = copy.eval()
        self.first = first

    def train_blocks(self) -> None:
        """Train every parameter of the blocks from `first` on."""
        self.backbone.blocks[self.first :].requires_grad_(True)

    def train_norms(self) -> None:
        """Train scales and shifts of the layer norms inside the blocks from `first` on (XCoOp)."""
        for module in self.backbone.blocks[self.first :].modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)

    @torch.no_grad()
    def keep(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N width"]:
        return self.backbone.prefix(images, self.first)

    def vectors(self, kept: Float[Tensor, "B N width"]) -> PhotoVectors:
        return PhotoVectors.of(self.features(kept))

    def features(self, kept: Float[Tensor, "B N width"]) -> DenseFeatures:
        """Dense features of square photos, from the tokens that were kept."""
        return self.backbone.suffix(kept, self.first)[0]
