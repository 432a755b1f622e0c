"""open_clip models whose vision tower is timm's: SigLIP and SigLIP 2, EVA, MobileCLIP, PE-Core, ViTamin, ConvNeXt.

One rule makes the dense patches of all of them: a patch is what the tower would call a photo of which this token is
all that there is to pool. `pooled` is the model's own image vector.

- Attention pooling (SigLIP, SigLIP 2, PE-Core): the last tokens, each alone through the pooling head: its value and
  output projections, and its MLP around the residual.
- Class token (EVA, MobileCLIP-B): each token alone through the last block (the value path, as of native towers), then
  the final norm and the projection. Rotary positions turn queries and keys only, so they do not enter here.
- Mean pooling (ViTamin; ConvNeXt, MobileCLIP-S, Swin by the positions of their last feature map): each alone through
  what follows the mean: norm and projection (for convolutional CLIPs first in FC-CLIP, arXiv 2308.02487).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sae.errors import InsightError

from ..base import DenseFeatures
from ..timm_models.blocks import TimmBlocks, is_row_of_blocks, lone_pooled, lone_tokens, pool_each, take_any_size
from .model import OpenClipModel

# Modules of timm whose models are one row of blocks; those of its other modules must have a feature map to pool.
ROWS = ("vision_transformer", "vision_transformer_hybrid", "vitamin", "deit", "eva", "naflexvit")
POOLINGS = ("", "avg", "avgmax", "max", "token", "map")
INSTEAD = "use a plain tower such as openclip:ViT-B-16-SigLIP/webli or openclip:ViT-B-16/laion2b_s34b_b88k"


def tower_class(vision: Mapping[str, Any]) -> type[OpenClipModel]:
    """`TimmMapTower` if the timm model of these settings (`vision_cfg`) pools a feature map, else `TimmTower`."""
    return TimmMapTower if _has_map(vision["timm_model_name"]) else TimmTower


class _TimmModel(OpenClipModel):
    """What both kinds share. `model.visual.trunk` is the timm model, `model.visual.head` what open_clip puts on it."""

    @classmethod
    def check_config(cls, name: str, vision: Mapping[str, Any]) -> None:
        import timm

        known, reason = vision["timm_model_name"], None
        if not timm.is_model(known):
            raise InsightError(
                f"openclip:{name} has the timm tower {known}, which timm {timm.__version__} does not know; update it"
                " (pip install -U timm)"
            )
        where = timm.model_entrypoint(known).__module__
        if (pooling := vision.get("timm_pool") or "") not in POOLINGS:
            reason = f"a timm tower pooled by {pooling}"
        elif where.startswith("timm.models.") and where.rpartition(".")[2] not in ROWS and not _has_map(known):
            reason = f"the timm tower {known}, neither a plain row of blocks nor with a feature map"
        if reason:
            raise InsightError(f"openclip:{name} has {reason}, which gives no dense patches here; {INSTEAD}")

    def _say_how(self, through: str) -> None:
        self.description = f"{self.description.rstrip('.')}; patches: each alone through {through}."


class TimmTower(_TimmModel, TimmBlocks):
    """A CLIP model whose vision tower is a timm vision transformer, pooled by attention, class token or mean."""

    def __init__(self, name: str, model: Any, tokenizer: Any, way: str = "value") -> None:
        super().__init__(name, model, tokenizer, way)
        pool = getattr(self.vit, "attn_pool", None)
        latent = pool is None or (hasattr(pool, "kv") and pool.pos_embed is None)
        if not is_row_of_blocks(self.vit) or not latent:
            raise InsightError(
                f"openclip:{name} has a timm tower of class {type(self.vit).__name__} that gives no dense patches here;"
                f" {INSTEAD}"
            )
        through = "the last block" if self.vit.global_pool == "token" else "what follows the mean"
        self._say_how(through if pool is None else "the attention pooling")
        self.set_blocks(self.image_size)
        self.dim = self._project(torch.zeros(1, self.width)).shape[1]

    @property
    def vit(self) -> Any:
        return self.model.visual.trunk

    def finish(
        self,
        z: Tensor,
        mask: Tensor | None = None,
        need_attention: bool = False,
        turns: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        vit, visual = self.vit, self.model.visual
        last, attention = self.run(z, self.depth - 1, self.depth, mask, need_attention, turns)
        tokens = vit.norm(last)
        if vit.attn_pool is not None:
            own = lone_pooled(vit.attn_pool, tokens[:, self.n_prefix :])
        elif vit.global_pool == "token":
            own = vit.norm(lone_tokens(vit.blocks[-1], z[:, self.n_prefix :]))
        else:
            own = tokens[:, self.n_prefix :]
        pooled = pool_each(lambda tokens: visual.head(vit.forward_head(tokens)), tokens, mask)
        return self._project(own), pooled, attention

    def _project(self, own: Tensor) -> Tensor:
        """What follows the pooling: [..., width] to [..., dim]."""
        return self.model.visual.head(self.vit.head(self.vit.fc_norm(own)))


class TimmMapTower(_TimmModel):
    """A CLIP model whose vision tower ends in a feature map (convolutional, hierarchical): no blocks to cut at."""

    depth = width = n_prefix = 0
    has_class_token = False

    def __init__(self, name: str, model: Any, tokenizer: Any, way: str = "value") -> None:
        super().__init__(name, model, tokenizer, way)
        self._say_how("what follows the mean")
        trunk = model.visual.trunk
        take_any_size(trunk)
        self.patch = trunk.feature_info[-1]["reduction"]
        side = self.image_size // self.patch
        self.grid = (side, side)
        self.image_size = side * self.patch
        self.dim = self._heads(torch.zeros(1, 1, 1, trunk.num_features)).shape[1]

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        trunk = self.model.visual.trunk
        features = trunk.forward_features(self.normalise_colours(images))
        pooled = self.model.visual.head(trunk.forward_head(features))
        cells = features if self._channels_last else features.permute(0, 2, 3, 1)
        patches = self._heads(cells.reshape(-1, 1, 1, cells.shape[-1])).unflatten(0, (len(images), -1))
        return DenseFeatures(patches, pooled, (cells.shape[1], cells.shape[2]))

    @property
    def _channels_last(self) -> bool:
        return getattr(self.model.visual.trunk, "output_fmt", "NCHW") == "NHWC"

    def _heads(self, cells: Tensor) -> Tensor:
        """The image vectors [n, dim] of n maps [n, 1, 1, channels] of one position each."""
        maps = cells if self._channels_last else cells.permute(0, 3, 1, 2)
        return self.model.visual.head(self.model.visual.trunk.forward_head(maps))


def _has_map(timm_name: str) -> bool:
    """Whether timm says that this model pools a feature map of two dimensions (as open_clip asks it too)."""
    import timm

    config = timm.get_pretrained_cfg(timm_name)
    return config is not None and config.pool_size is not None
