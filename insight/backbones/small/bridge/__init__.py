"""The bridge of `small`: linear maps that carry DINOv2's tokens into MiniLM's sentence space.

In: DINOv2's tokens after the final norm and MiniLM's sentence vectors. Out: patches, image vectors and texts that can
be compared by cosine. With c the class token, p a patch and m the mean patch of a photo:

    patch  W (p - patch mean)          photo  V ([c, m] - pooled mean)          text  unit(s - mean caption)

Made by `scripts/train_bridge.py`; `bridge.json` is the card of the shipped `bridge.safetensors`, and `held_out.json`
lists the photos that no bridge has been trained on.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sae.errors import InsightError

WIDTH = 384  # of DINOv2's tokens and of MiniLM's vectors
SHAPES = {
    "weight": (WIDTH, WIDTH),
    "patch_mean": (WIDTH,),
    "pooled_weight": (WIDTH, 2 * WIDTH),
    "pooled_mean": (2 * WIDTH,),
    "text_mean": (WIDTH,),
}


class Bridge(nn.Module):
    """weight W [384, 384], patch_mean [384], pooled_weight V [384, 768], pooled_mean [768], text_mean [384].

    The first half of V's inputs is the class token, the second the mean patch. Over the training photos the patches and
    the image vectors have a mean squared norm of 1.
    """

    weight: Tensor
    patch_mean: Tensor
    pooled_weight: Tensor
    pooled_mean: Tensor
    text_mean: Tensor

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name in SHAPES:
            self.register_buffer(name, tensors[name])

    @classmethod
    def read(cls, path: Path) -> Bridge:
        """The bridge of a safetensors file; `InsightError` when it is none or has other tensors."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        remedy = "take the shipped file, or make one with scripts/train_bridge.py"
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise InsightError(f"{path}: expected a bridge, found no safetensors file ({error}); {remedy}") from None
        for name, shape in SHAPES.items():
            found = tensors.pop(name, None)
            if found is None or tuple(found.shape) != shape or found.dtype != torch.float32:
                what = "none" if found is None else f"{found.dtype} {list(found.shape)}"
                raise InsightError(f"{path}: expected float32 {list(shape)} as {name}, found {what}; {remedy}")
            tensors[name] = found
        if more := sorted(set(tensors) - set(SHAPES)):
            raise InsightError(f"{path}: expected {', '.join(SHAPES)} alone, found {', '.join(more)} too; {remedy}")
        return cls(tensors)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Patches [B, n, 384] and image vectors [B, 384] of tokens [B, 1+n, 384], the class token first.

        mask: bool [B, 1+n], True = a real token. Image vectors do not depend on the others.
        """
        patches = tokens[:, 1:]
        if mask is None:
            mean = patches.mean(1)
        else:
            real = mask[:, 1:, None]
            mean = torch.where(real, patches, 0).sum(1) / real.sum(1)
        both = torch.cat([tokens[:, 0], mean], dim=1)
        return (patches - self.patch_mean) @ self.weight.T, (both - self.pooled_mean) @ self.pooled_weight.T

    def text(self, vectors: Tensor) -> Tensor:
        """Unit vectors [n, 384] beside the patches, of MiniLM's vectors [n, 384]."""
        return nn.functional.normalize(vectors - self.text_mean, dim=1)
