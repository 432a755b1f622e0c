"""`small`, the offline default: DINOv2 ViT-S/14 carried into MiniLM's sentence space by a linear bridge.

A patch token p (after DINOv2's final norm) becomes  W (p - mean patch);  a text becomes its MiniLM vector minus the
mean caption's, scaled to unit length. The image vector is a linear map of the class token and the mean patch: half of
it is the mean of the patches' vectors, half was learnt for whole photos; so it is not `patches.mean(1)`. The maps are
this project's, trained by `scripts/train_bridge.py` on captioned and named photographs and a classifier's posteriors,
and shipped as `bridge/bridge.safetensors`; `bridge/bridge.json` is their card: data, recipe, figures. Over the training
photos patches and image vectors have a mean squared norm of 1.

This is not CLIP: no image encoder was trained together with a text encoder, and the bridge has seen few photographs.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from ..base import fingerprint_of
from ..text_towers import TextTower
from ..timm_models.vit import first_tokens, run_blocks
from ..transformer import Transformer
from .bridge import Bridge
from .dinov2 import DINOV2_S, IMAGE_SIZE, MEAN, PATCH, STD, build_dinov2
from .minilm import DIM, MINILM, MiniLM

CODE_VERSION = "small 2"  # change it when the same weights begin to give other vectors
BRIDGE = Path(__file__).parent / "bridge" / "bridge.safetensors"


class Small(Transformer):
    """DINOv2 ViT-S/14 and MiniLM with a bridge between them: 16x16 patches of width 384 at 224 pixels."""

    name = "small"
    description = (
        "DINOv2 ViT-S/14 patches and image vectors mapped into the MiniLM sentence space by small linear maps; "
        "it is not CLIP and names things less surely."
    )
    dim = DIM
    patch = PATCH
    image_size = IMAGE_SIZE
    grid = (IMAGE_SIZE // PATCH, IMAGE_SIZE // PATCH)
    depth = 12
    width = 384
    n_prefix = 1
    has_class_token = True
    has_text = True

    def __init__(self, bridge: Path = BRIDGE) -> None:
        super().__init__()
        self.bridge = Bridge.read(bridge)
        self.vit = build_dinov2()
        self.text = MiniLM()
        self.set_colours(MEAN, STD)
        self._bridge_hash = hashlib.sha256(bridge.read_bytes()).hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """From the pins of the fetched files, which `fetch` has just checked, and the bytes of the bridge."""
        pins = [file.sha256 for weights in (DINOV2_S, MINILM) for file in weights.files]
        return fingerprint_of([self.name, CODE_VERSION, *pins, self._bridge_hash])

    def encode_text(self, texts: list[str]) -> Tensor:
        """Unit vectors [n, 384]: MiniLM's, with the mean caption's taken off."""
        return self.bridge.text(self.text(texts))

    @property
    def logit_scale(self) -> float:
        """At which the true class is likeliest: of 5 to 100, for CIFAR-10's training photographs as for 200 names of
        ImageNet."""
        return 20.0

    @property
    def text_tower(self) -> TextTower:
        from ..text_towers.minilm import MiniLMText

        return MiniLMText(self.text, self.bridge)

    @property
    def blocks(self) -> nn.ModuleList | nn.Sequential:
        return self.vit.blocks

    def embed(self, images: Tensor) -> Tensor:
        return first_tokens(self.vit, self.normalise_colours(images))

    def run(
        self, z: Tensor, block: int, to: int, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        return run_blocks(self.vit, z, block, to, mask, need_attention)

    def finish(
        self, z: Tensor, mask: Tensor | None = None, need_attention: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        z, attention = self.run(z, self.depth - 1, self.depth, mask, need_attention)
        patches, pooled = self.bridge(self.vit.norm(z), mask)
        return patches, pooled, attention


def load_small() -> Small:
    """The `small` backbone with its real weights, fetched if need be (169 MB in all)."""
    return Small()
