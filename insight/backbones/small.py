"""`small`, the offline default: DINOv2 ViT-S/14 patches carried into MiniLM's sentence space by a linear bridge.

A patch token t (after DINOv2's final norm) becomes  W (t - mean patch);  a text becomes its MiniLM vector minus the
mean caption's, scaled to unit length. W and both means are this project's, trained by `scripts/train_bridge.py` on
captioned and named photographs and shipped as `bridge/bridge.safetensors`; `bridge/bridge.json` is its card: data,
recipe, figures. W is scaled so that a patch has a mean squared norm of 1 over the training photos.

This is not CLIP: no image encoder was trained together with a text encoder, and the bridge has seen few photographs.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from .base import fingerprint_of
from .dinov2 import DINOV2_S, IMAGE_SIZE, MEAN, PATCH, STD, build_dinov2
from .minilm import DIM, MINILM, MiniLM
from .transformer import Transformer
from .vit_blocks import first_tokens, run_blocks

CODE_VERSION = "small 1"  # change it when the same weights begin to give other vectors
BRIDGE = Path(__file__).parent / "bridge" / "bridge.safetensors"


class Small(Transformer):
    """DINOv2 ViT-S/14 and MiniLM with a bridge between them: 16x16 patches of width 384 at 224 pixels."""

    name = "small"
    description = (
        "DINOv2 ViT-S/14 patches mapped into the MiniLM sentence space by a small linear bridge; "
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
    weight: Tensor
    patch_mean: Tensor
    text_mean: Tensor

    def __init__(self, bridge: Path = BRIDGE) -> None:
        super().__init__()
        self.vit = build_dinov2()
        self.text = MiniLM()
        for key, tensor in load_file(bridge).items():  # weight [384, 384], patch_mean [384], text_mean [384]
            self.register_buffer(key, tensor)
        self.set_colours(MEAN, STD)
        self._bridge_hash = hashlib.sha256(bridge.read_bytes()).hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """From the pins of the fetched files, which `fetch` has just checked, and the bytes of the bridge."""
        pins = [file.sha256 for weights in (DINOV2_S, MINILM) for file in weights.files]
        return fingerprint_of([self.name, CODE_VERSION, *pins, self._bridge_hash])

    def encode_text(self, texts: list[str]) -> Tensor:
        """Unit vectors [n, 384]: MiniLM's, with the mean caption's taken off."""
        return nn.functional.normalize(self.text(texts) - self.text_mean, dim=1)

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
        patches = (self.vit.norm(z)[:, self.n_prefix :] - self.patch_mean) @ self.weight.T
        if mask is None:
            return patches, patches.mean(1), attention
        real = mask[:, self.n_prefix :, None]
        return patches, (patches * real).sum(1) / real.sum(1), attention


def load_small() -> Small:
    """The `small` backbone with its real weights, fetched if need be (169 MB in all)."""
    return Small()
