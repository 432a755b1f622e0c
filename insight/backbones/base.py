"""The contract of a backbone: photos in, patch vectors and one image vector out, and text in the same space.

Photos go in as [B, 3, H, W] floats in [0, 1]; what comes out is `DenseFeatures`. Every encoder of this project (a CLIP
tower, a timm model, the offline `small`) is a `Backbone`, frozen and in evaluation mode; nothing here detaches, so
gradients flow from any output to the images or to the tokens that `prefix` returns.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sae.errors import InsightError

if TYPE_CHECKING:
    from .text_towers import TextTower


@dataclass(frozen=True)
class DenseFeatures:
    """What a backbone sees in a batch of photos.

    patches: [B, h*w, d], row by row from the top left; pooled: [B, d], the image as one vector; grid: (h, w).
    Neither is normalised to unit length.
    """

    patches: Tensor
    pooled: Tensor
    grid: tuple[int, int]


@dataclass(frozen=True)
class CentreSquare:
    """Cut the centre square of an RGB photo and resize it (bicubic, antialiased) to [3, size, size] floats in [0, 1].

    Colours are not normalised: each backbone does that inside `encode_image`. A plain value, so that it can be sent
    to the worker processes of a data loader without the model.
    """

    size: int

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of the square that is kept, in pixels of the original photo."""
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side

    def view(self, photo: Image.Image, most: int) -> Image.Image:
        """That square as a picture for people, at most so many pixels wide and never enlarged."""
        side = min(most, *photo.size)
        return photo.resize((side, side), Image.Resampling.LANCZOS, box=self.box(*photo.size))

    def __call__(self, image: Image.Image) -> Tensor:
        if image.mode != "RGB":
            raise InsightError(f"expected an RGB photo, found mode {image.mode}; convert it with image.convert('RGB')")
        square = image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=self.box(*image.size))
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous().float() / 255


class Backbone(nn.Module, ABC):
    """A frozen encoder. Sub-classes set the attributes below and write `encode_image`, and `encode_text` if they can.

    Vision transformers derive from `Transformer`, which adds `prefix`, `suffix` and `between`.

    name: what `insight.backbones.load` was given; description: one plain sentence on what it is;
    dim: width d of the vectors; patch: side of a patch in pixels; image_size: side in pixels of the square photo that
    the encoder was made for; grid: (h, w) of its patches there;
    depth: number of transformer blocks (0: it has none, and no `prefix`, `suffix` and `between`);
    width: of the tokens that go from block to block (0 without blocks), which `dim` need not be;
    n_prefix: how many tokens stand before the patches in what `prefix` returns (class token, registers);
    has_class_token: whether the first of those is a class token;
    has_text: whether `encode_text` works; fingerprint: SHA-256 (hex) over name, code version and every weight.
    """

    name: str
    description: str
    dim: int
    patch: int
    grid: tuple[int, int]
    image_size: int
    depth: int
    width: int
    n_prefix: int
    has_class_token: bool
    has_text: bool
    colour_mean: Tensor
    colour_std: Tensor

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the name, the version of the code and every weight; caches and models refuse another one."""

    @property
    def transform(self) -> CentreSquare:
        """What makes a PIL photo (RGB) a tensor [3, image_size, image_size] for `encode_image`."""
        return CentreSquare(self.image_size)

    @abstractmethod
    def encode_image(self, images: Tensor) -> DenseFeatures:
        """Encode photos [B, 3, H, W] in [0, 1]; H and W are multiples of `patch`, of any size the model allows."""

    def encode_mixed(self, images: Sequence[Tensor]) -> list[DenseFeatures]:
        """Encode photos [3, H, W] of any sizes: the features of each, as batches of one, up to rounding of
        `encode_image` of it alone. Vision transformers take photos of different sizes in one pass."""
        sizes: dict[torch.Size, list[int]] = {}
        for number, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(number)
        found: dict[int, DenseFeatures] = {}
        for numbers in sizes.values():
            features = self.encode_image(torch.stack([images[number] for number in numbers]))
            patches, pooled = features.patches.split(1), features.pooled.split(1)
            found.update(
                (n, DenseFeatures(p, v, features.grid)) for n, p, v in zip(numbers, patches, pooled, strict=True)
            )
        return [found[number] for number in range(len(images))]

    def encode_text(self, texts: list[str]) -> Tensor:
        """Unit vectors [n, d] of the texts, in the space of the patches."""
        raise InsightError(
            f"backbone {self.name} sees only and has no text space; use `small` or `openclip:MODEL/PRETRAINED`, or "
            "train a bridge from its patches to a text encoder (scripts/train_bridge.py shows how)"
        )

    @property
    def logit_scale(self) -> float:
        """What a cosine of a photo and a text is multiplied by before a softmax over texts."""
        return 100.0

    @property
    def text_tower(self) -> TextTower:
        """The text encoder by its blocks, for learnt prompts and for maps over words; `InsightError` without one."""
        raise InsightError(
            f"backbone {self.name} has no text tower that can be cut at its blocks; use `small` or"
            " openclip:ViT-B-16/laion2b_s34b_b88k"
        )

    def prefix(self, images: Tensor, block: int) -> Tensor:
        """Tokens [B, n_prefix + h*w, width] that go into block number `block`, counted from 0, 0 <= block < depth."""
        self.check_block(block)
        raise NotImplementedError

    def suffix(
        self, z: Tensor, block: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[DenseFeatures, Tensor | None]:
        """Go on from `prefix(images, block)`: `suffix(prefix(x, b), b)[0]` equals `encode_image(x)`.

        need_attention: also return the attention probabilities [B, heads, N, N] of the last block, the very tensor
        that the output was computed from, so gradients reach it; the patches are its last h*w columns.
        grid: (h, w) of photos that are not square.
        """
        self.check_block(block)
        raise NotImplementedError

    def between(
        self, z: Tensor, block: int, to: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Run blocks `block` to `to` - 1: `between(prefix(x, b), b, c)[0]` equals `prefix(x, c)`, 0 <= b < c < depth.

        need_attention: also return the attention probabilities of block `to` - 1, as `suffix` does of the last block.
        grid: (h, w) of photos that are not square.
        """
        self.check_span(block, to)
        raise NotImplementedError

    def set_colours(self, mean: Iterable[float], std: Iterable[float]) -> None:
        """Remember the three means and deviations of the photos that the encoder was trained on."""
        self.register_buffer("colour_mean", torch.tensor(list(mean)).view(3, 1, 1), persistent=False)
        self.register_buffer("colour_std", torch.tensor(list(std)).view(3, 1, 1), persistent=False)

    def normalise_colours(self, images: Tensor) -> Tensor:
        """Photos in [0, 1] as the encoder was trained to see them."""
        return (images - self.colour_mean) / self.colour_std

    def check_block(self, block: int) -> None:
        """`InsightError` unless `block` is one where this model can be cut."""
        if not 0 <= block < self.depth:
            blocks = f"has blocks 0 to {self.depth - 1}" if self.depth else "has no transformer blocks to cut at"
            raise InsightError(f"backbone {self.name} {blocks}, found block={block}")

    def check_span(self, block: int, to: int) -> None:
        """`InsightError` unless `block` and `to` are blocks where this model can be cut, and `to` the later one."""
        self.check_block(block)
        self.check_block(to)
        if to <= block:
            raise InsightError(f"backbone {self.name} goes on from block {block} to a later one, found to={to}")

    def check_images(self, images: Tensor) -> None:
        """`InsightError` unless images are [B, 3, H, W] floats with H and W multiples of `patch`."""
        shape = tuple(images.shape)
        right = len(shape) == 4 and shape[1] == 3 and all(side > 0 and side % self.patch == 0 for side in shape[2:])
        if not right or not images.is_floating_point():
            raise InsightError(
                f"backbone {self.name} expects float images [B, 3, H, W] in [0, 1] with H and W multiples of "
                f"{self.patch}, found {images.dtype} {list(shape)}; use its `transform`"
            )

    def grid_for(self, images: Tensor) -> tuple[int, int]:
        """(h, w) of the patches of photos [B, 3, H, W]."""
        return images.shape[-2] // self.patch, images.shape[-1] // self.patch

    def grid_of(self, n_patches: int, grid: tuple[int, int] | None = None) -> tuple[int, int]:
        """The grid of that many patches: the one given if it has as many, without one a square; else `InsightError`."""
        height, width = grid or (round(n_patches**0.5),) * 2
        if height * width != n_patches:
            what = f"are not {height} x {width}" if grid else "make no square grid"
            raise InsightError(f"backbone {self.name}: {n_patches} patches {what}; give the grid (h, w) of the photos")
        return height, width

    def freeze(self) -> Backbone:
        """Evaluation mode, no gradients for the weights (they still reach the images). Returns the backbone itself."""
        self.requires_grad_(False)
        return self.eval()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and bytes, in the order of the names: the same for every file format."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint_of(parts: Iterable[str]) -> str:
    """SHA-256 (hex) of the parts in order: a backbone's name, the version of its code, the hashes of its weights."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def short(error: BaseException) -> str:
    """A foreign error in a few words, for the one line of an `InsightError`."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
