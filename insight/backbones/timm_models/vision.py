"""`timm:MODEL`: any timm image model, vision only. Caching, training and probing work; naming needs a text space.

Vision transformers that are one row of blocks (ViT, DeiT, DINOv2 with and without registers, SigLIP's encoders, EVA,
DINOv3, Perception Encoder, NaFlexViT) can be cut at any block; other models (convolutional, hierarchical) give the
patches of their last feature map and no `prefix` and `suffix`. `timm:MODEL/` (with the slash) builds the model with
seeded random weights: for tests, never for results.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sae.errors import InsightError

from ..base import Backbone, DenseFeatures, fingerprint_of, hash_tensors, short
from ..weight_sources import impatient_hub
from .blocks import TimmBlocks, is_row_of_blocks, pool_each, take_any_size

CODE_VERSION = "timm 1"  # change it when the same weights begin to give other vectors


class TimmVision(Backbone):
    """What all timm models share: colours, size, fingerprint. The model is registered as `model`."""

    has_text = False

    def __init__(self, name: str, model: Any) -> None:
        super().__init__()
        config = model.pretrained_cfg
        self.name = f"timm:{name}"
        self.description = f"timm's {name.rstrip('/')}, vision only."
        self.model = model
        self.image_size = int(config["input_size"][-1])
        self.set_colours(config["mean"], config["std"])

    @cached_property
    def fingerprint(self) -> str:
        """Over every weight, at the first call."""
        return fingerprint_of([self.name, CODE_VERSION, hash_tensors(self.model.state_dict())])


class TimmTransformer(TimmVision, TimmBlocks):
    """A vision transformer of one row of blocks; `pooled` is the model's own image vector."""

    def __init__(self, name: str, model: Any) -> None:
        super().__init__(name, model)
        self.set_blocks(self.image_size)
        self.dim = self.width

    @property
    def vit(self) -> Any:
        return self.model

    def finish(
        self,
        z: Tensor,
        mask: Tensor | None = None,
        need_attention: bool = False,
        turns: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        z, attention = self.run(z, self.depth - 1, self.depth, mask, need_attention, turns)
        tokens = self.model.norm(z)
        pooled = pool_each(lambda tokens: self.model.forward_head(tokens, pre_logits=True), tokens, mask)
        return tokens[:, self.n_prefix :], pooled, attention


class TimmFeatureMap(TimmVision):
    """Any other model, by the map or the tokens of its `forward_features`; `pooled` is the mean patch.

    `InsightError` for models that give no grid of patches, and for photos of a size that the model does not take.
    """

    depth = width = n_prefix = 0
    has_class_token = False

    def __init__(self, name: str, model: Any) -> None:
        super().__init__(name, model)
        take_any_size(model)
        self.patch = 1  # for this one photo
        with torch.no_grad():
            features = self.encode_image(torch.zeros(1, 3, self.image_size, self.image_size))
        self.dim, self.grid = features.patches.shape[2], features.grid
        self.patch = self.image_size // self.grid[0]

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        output = self._features(self.normalise_colours(images))
        if output.ndim == 4:  # a map, channels first or last: the width says which
            channels = 1 if output.shape[1] == self.model.num_features else 3
            height, width = (size for axis, size in enumerate(output.shape) if axis not in (0, channels))
            grid = (height, width)
            patches = output.movedim(channels, -1).flatten(1, 2)
        else:
            patches = output[:, getattr(self.model, "num_prefix_tokens", 0) :]
            grid = self.grid_of(patches.shape[1], None if self.patch == 1 else self.grid_for(images))
        return DenseFeatures(patches, patches.mean(1), grid)

    def _features(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        try:
            output = self.model.forward_features(images)
        except (AssertionError, IndexError, RuntimeError) as error:  # how timm's models refuse a size
            if height == width == self.image_size:
                raise
            raise InsightError(
                f"backbone {self.name} does not take photos of {height} x {width} pixels ({short(error)}); give photos"
                f" of {self.image_size} x {self.image_size}"
            ) from None
        if not isinstance(output, Tensor) or (output.ndim == 3 and output.shape[1] < 4) or output.ndim not in (3, 4):
            raise InsightError(
                f"backbone {self.name} gives no grid of patches; use a vision transformer or a convolutional model"
            )
        return output


def load_timm(name: str) -> TimmVision:
    """The timm model of that name; its weights come through timm's own loader. `InsightError` if it cannot be had."""
    import timm

    untrained = name.endswith("/")
    known = name.rstrip("/")
    try:
        with torch.random.fork_rng(devices=[]), nullcontext() if untrained else impatient_hub():
            torch.manual_seed(0)
            model = timm.create_model(known, pretrained=not untrained, num_classes=0).eval()
    except Exception as error:  # timm's loader raises the hub client's, the HTTP library's and its own errors
        raise InsightError(
            f"timm:{known}: the weights could not be loaded ({short(error)}); go online once so that timm can fetch "
            "them, or use `small`"
        ) from None
    return TimmTransformer(name, model) if is_row_of_blocks(model) else TimmFeatureMap(name, model)
