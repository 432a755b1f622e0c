"""`timm:MODEL`: any timm image model, vision only. Caching, training and probing work; naming needs a text space.

Plain vision transformers can be cut at any block; other models (convolutional, hierarchical) give the patches of their
last feature map and no `prefix` and `suffix`. `timm:MODEL/` (with the slash) builds the model with seeded random
weights: for tests, never for results.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sae.errors import InsightError

from .base import Backbone, DenseFeatures, fingerprint_of, hash_tensors, short
from .transformer import Transformer
from .vit_blocks import first_tokens, run_blocks
from .weight_sources import impatient_hub

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


class TimmTransformer(TimmVision, Transformer):
    """A plain vision transformer; `pooled` is the model's own image vector."""

    def __init__(self, name: str, model: Any) -> None:
        super().__init__(name, model)
        (self.patch, _) = model.patch_embed.patch_size
        self.dim = self.width = model.embed_dim
        self.grid = (self.image_size // self.patch, self.image_size // self.patch)
        self.depth = len(model.blocks)
        self.n_prefix = model.num_prefix_tokens
        self.has_class_token = model.has_class_token

    def embed(self, images: Tensor) -> Tensor:
        return first_tokens(self.model, self.normalise_colours(images))

    def run(
        self, z: Tensor, block: int, to: int, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        return run_blocks(self.model, z, block, to, mask, need_attention)

    def finish(
        self, z: Tensor, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        z, attention = self.run(z, self.depth - 1, self.depth, mask, need_attention)
        tokens = self.model.norm(z)
        own = [tokens] if mask is None else [z[None, real] for z, real in zip(tokens, mask, strict=True)]
        pooled = torch.cat([self.model.forward_head(z, pre_logits=True) for z in own])
        return tokens[:, self.n_prefix :], pooled, attention


class TimmFeatureMap(TimmVision):
    """Any other model, by the map or the tokens of its `forward_features`; `pooled` is the mean patch."""

    depth = width = n_prefix = 0
    has_class_token = False

    def __init__(self, name: str, model: Any) -> None:
        super().__init__(name, model)
        self.patch = 1  # for this one photo
        with torch.no_grad():
            features = self.encode_image(torch.zeros(1, 3, self.image_size, self.image_size))
        self.dim, self.grid = features.patches.shape[2], features.grid
        self.patch = self.image_size // self.grid[0]

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        output = self.model.forward_features(self.normalise_colours(images))
        if output.ndim == 4:  # a map, channels first or last: the width says which
            channels = 1 if output.shape[1] == self.model.num_features else 3
            grid = tuple(size for axis, size in enumerate(output.shape) if axis not in (0, channels))
            patches = output.movedim(channels, -1).flatten(1, 2)
        else:
            patches = output[:, getattr(self.model, "num_prefix_tokens", 0) :]
            grid = self.grid_of(patches.shape[1], None if self.patch == 1 else self.grid_for(images))
        return DenseFeatures(patches, patches.mean(1), grid)


def load_timm(name: str) -> TimmVision:
    """The timm model of that name; its weights come through timm's own loader. `InsightError` if it cannot be had."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    untrained = name.endswith("/")
    known = name.rstrip("/")
    if not timm.is_model(known):
        close = timm.list_models(f"*{known.split('_')[0]}*")[:5]
        raise InsightError(f"timm has no model {known!r}; near it: {', '.join(close) or 'nothing'}")
    is_vit = timm.model_entrypoint(known).__module__ == VisionTransformer.__module__
    extra: dict[str, Any] = {"dynamic_img_size": True} if is_vit else {}  # photos of other sizes, where the model can
    try:
        with torch.random.fork_rng(devices=[]), nullcontext() if untrained else impatient_hub():
            torch.manual_seed(0)
            model = timm.create_model(known, pretrained=not untrained, num_classes=0, **extra).eval()
    except Exception as error:  # timm's loader raises the hub client's, the HTTP library's and its own errors
        raise InsightError(
            f"timm:{known}: the weights could not be loaded ({short(error)}); go online once so that timm can fetch "
            "them, or use `small`"
        ) from None
    return TimmTransformer(name, model) if isinstance(model, VisionTransformer) else TimmFeatureMap(name, model)
