"""`+dinoiser` (CLIP-DINOiser): a CLIP tower's patches pooled by correlations that a convolution reads off the tower.

    g    = what ln_2 of the third block from the end gives, [h*w, width], class token left out
    h    = Conv3x3(width -> 256)(g), the borders repeated;   C_pq = cosine of h_p and h_q, 0 where it is below gamma
    F+_p = sum_q C_pq f_q / (sum_q C_pq + 1e-6),   f the tower's own patches by its value path

The convolution was trained to foresee how alike DINO sees two patches, so no second model looks at the photo: one
forward of the tower, the convolution and the pooling. A second one, 1x1 on g scaled to unit length, foresees where
FOUND sees an object. F+ is not scaled to unit length. Source: CLIP-DINOiser (arXiv 2312.12359; names, shapes and
constants are those of its code and configuration, github.com/wysoczanska/clip_dinoiser, Apache-2.0), the backbone of
Insight (arXiv 2601.13798). The convolutions come from the published file or from scripts/train_dinoiser.py; they are
never downloaded on their own.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sae.errors import InsightError
from sae.files import atomic_write

from ..base import Backbone, DenseFeatures, fingerprint_of, hash_tensors, short
from ..openclip.vit import OpenClip
from ..text_towers import TextTower
from ..weights import cache_root
from .dino import pool_alike

CODE_VERSION = "dinoiser 1"  # change it when the same weights begin to give other vectors
HIDDEN = 256  # width of h, as published (`in_dim`)
FROM_END = 3  # the block whose ln_2 is read, as published (`feats_idx` -3)
PUBLISHED = "https://github.com/wysoczanska/clip_dinoiser/raw/main/checkpoints/last.pt"
PUBLISHED_BASE = "openclip:ViT-B-16/laion2b_s34b_b88k"
PUBLISHED_NAMES = {"obj_proj": "correlation", "bkg_decoder": "foreground"}
SHAPES = {
    "correlation.weight": "[256, width, 3, 3]",
    "correlation.bias": "[256]",
    "foreground.weight": "[1, width, 1, 1]",
    "foreground.bias": "[1]",
}


class Convolutions(nn.Module):
    """The two convolutions. `foreground` is None where they were trained without maps of what is an object."""

    foreground: nn.Conv2d | None

    def __init__(self, width: int, foreground: bool = True) -> None:
        super().__init__()
        self.width = width
        self.correlation = nn.Conv2d(width, HIDDEN, 3, padding=1, padding_mode="replicate")
        self.foreground = nn.Conv2d(width, 1, 1) if foreground else None

    def vectors(self, g: Tensor, grid: tuple[int, int]) -> Tensor:
        """h [B, h*w, 256], not scaled, of tokens g [B, h*w, width]."""
        return self.correlation(g.mT.unflatten(2, grid)).flatten(2).mT

    def foreground_logits(self, g: Tensor) -> Tensor:
        """[B, h*w], above 0 where an object is more likely than background. `InsightError` without that convolution."""
        if self.foreground is None:
            raise InsightError(
                "these convolutions were trained without saliency maps and tell no background; train them with"
                " scripts/train_dinoiser.py --saliency"
            )
        return self.foreground(normalize(g, dim=-1).mT[..., None]).flatten(1)

    def write(self, path: Path) -> None:
        """Write them as safetensors, whole or not at all."""
        from safetensors.torch import save

        with atomic_write(path) as temporary:
            temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in self.state_dict().items()}))


def read_convolutions(path: Path) -> Convolutions:
    """The convolutions in a file of `Convolutions.write` (`.safetensors`) or in the published one (any other suffix).

    The latter is a torch file of `model_state_dict` with obj_proj (h) and bkg_decoder (foreground); only tensors and
    plain values are unpickled. `InsightError` names the file, what was expected and what was found.
    """
    path = Path(path)
    if not path.is_file():
        raise InsightError(f"{path}: no such file; it should hold the two convolutions of CLIP-DINOiser")
    tensors = _read_own(path) if path.suffix == ".safetensors" else _read_published(path)
    first = tensors.get("correlation.weight")
    width = first.shape[1] if first is not None and first.ndim == 4 else 0
    for name, expected in SHAPES.items():
        tensor = tensors.get(name)
        if tensor is None and name.startswith("foreground") and not any(n.startswith("foreground") for n in tensors):
            continue
        if tensor is None:
            raise InsightError(f"{path}: expected {name} {expected}, found {', '.join(tensors) or 'no tensors'}")
        if not tensor.is_floating_point() or str(list(tensor.shape)) != expected.replace("width", str(width)):
            raise InsightError(f"{path}: expected floats {name} {expected}, found {tensor.dtype} {list(tensor.shape)}")
    convolutions = Convolutions(width, foreground="foreground.weight" in tensors)
    convolutions.load_state_dict({name: tensors[name] for name in convolutions.state_dict()})
    return convolutions


def import_published(source: Path, target: Path) -> None:
    """Write the published file's convolutions as safetensors. `InsightError` when it is not such a file."""
    read_convolutions(source).write(target)


def _read_own(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InsightError(f"{path}: expected safetensors of two convolutions, found {short(error)}") from None


def _read_published(path: Path) -> dict[str, Tensor]:
    """Tensors of the published file under our names; those of other layers are left out, as its own code does."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torch file that is none, is cut short or holds code: many kinds of errors
        raise InsightError(
            f"{path}: expected the published torch file of tensors ({PUBLISHED}), found something else ({short(error)})"
        ) from None
    state = found.get("model_state_dict") if isinstance(found, dict) else None
    if not isinstance(state, dict):
        keys = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise InsightError(f"{path}: expected `model_state_dict` with {', '.join(PUBLISHED_NAMES)}, found {keys[:120]}")
    parts = ((name.partition("."), value) for name, value in state.items())
    return {
        f"{PUBLISHED_NAMES[layer]}.{kind}": value
        for (layer, _, kind), value in parts
        if layer in PUBLISHED_NAMES and isinstance(value, Tensor)
    }


def tap(base: OpenClip, z: Tensor) -> tuple[Tensor, Tensor]:
    """g [B, h*w, width], and the tokens behind the block, from the tokens that go into block `depth` - 3."""
    block = base.model.visual.transformer.resblocks[base.depth - FROM_END]
    middle = z + block.ls_1(block.attention(block.ln_1(z)))
    normed = block.ln_2(middle)
    return normed[:, base.n_prefix :], middle + block.ls_2(block.mlp(normed))


class Dinoiser(Backbone):
    """A CLIP tower of open_clip with its patches pooled by the first convolution; `pooled` and texts are the tower's.

    It can be cut at the tower's blocks up to the third from the end, which is its last one (`depth` is two less than
    the tower's): what comes later no longer holds g. The attention of `suffix` is that of the tower's last block.
    """

    def __init__(self, base: Backbone, convolutions: Convolutions) -> None:
        super().__init__()
        if not isinstance(base, OpenClip) or base.depth < FROM_END:
            raise InsightError(
                f"+dinoiser expects one of open_clip's own vision transformers of at least {FROM_END} blocks, found"
                f" {base.name}; use {PUBLISHED_BASE}"
            )
        if convolutions.width != base.width:
            raise InsightError(
                f"{base.name}+dinoiser expects convolutions for tokens of width {base.width}, found"
                f" {convolutions.width}, trained for another tower; train some with scripts/train_dinoiser.py"
            )
        self.base = base
        self.convolutions = convolutions
        self.name = f"{base.name}+dinoiser"
        self.description = f"{base.description.rstrip('.')}; its patches pooled as CLIP-DINOiser's."
        self.dim, self.patch, self.grid, self.image_size = base.dim, base.patch, base.grid, base.image_size
        self.depth, self.width, self.n_prefix = base.depth - FROM_END + 1, base.width, base.n_prefix
        self.has_class_token, self.has_text = base.has_class_token, base.has_text
        self.set_colours(base.colour_mean.flatten().tolist(), base.colour_std.flatten().tolist())

    @cached_property
    def fingerprint(self) -> str:
        """From the tower's and the convolutions' weights."""
        return fingerprint_of([self.base.fingerprint, CODE_VERSION, hash_tensors(self.convolutions.state_dict())])

    def encode_image(self, images: Tensor) -> DenseFeatures:
        return self.suffix(self.prefix(images, 0), 0, grid=self.grid_for(images))[0]

    def encode_with_foreground(self, images: Tensor) -> tuple[DenseFeatures, Tensor]:
        """`encode_image`, and the probability [B, h*w] that a patch belongs to an object, in the same forward.

        In the published rule a patch is background when it is at most 0.5 and no class has a probability of 0.99.
        `InsightError` when the convolutions were trained without saliency maps.
        """
        features, _, g = self._go_on(self.prefix(images, 0), 0, False, self.grid_for(images))
        return features, self.convolutions.foreground_logits(g).sigmoid()

    def encode_text(self, texts: list[str]) -> Tensor:
        """The tower's."""
        return self.base.encode_text(texts)

    @property
    def logit_scale(self) -> float:
        """The base's."""
        return self.base.logit_scale

    @property
    def text_tower(self) -> TextTower:
        """The tower's."""
        return self.base.text_tower

    def prefix(self, images: Tensor, block: int) -> Tensor:
        self.check_block(block)
        return self.base.prefix(images, block)

    def between(
        self, z: Tensor, block: int, to: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        self.check_span(block, to)
        return self.base.between(z, block, to, need_attention, grid)

    def suffix(
        self, z: Tensor, block: int, need_attention: bool = False, grid: tuple[int, int] | None = None
    ) -> tuple[DenseFeatures, Tensor | None]:
        self.check_block(block)
        features, attention, _ = self._go_on(z, block, need_attention, grid)
        return features, attention

    def _go_on(
        self, z: Tensor, block: int, need_attention: bool, grid: tuple[int, int] | None
    ) -> tuple[DenseFeatures, Tensor | None, Tensor]:
        """Features, attention and g from the tokens that go into `block`."""
        grid = self.grid_of(z.shape[1] - self.n_prefix, grid)
        tokens, _ = self.base.run(z, block, self.depth - 1)
        g, tokens = tap(self.base, tokens)
        tokens, _ = self.base.run(tokens, self.depth, self.base.depth - 1)
        patches, pooled, attention = self.base.finish(tokens, need_attention=need_attention)
        patches = pool_alike(patches, self.convolutions.vectors(g, grid))
        return DenseFeatures(patches, pooled, grid), attention, g


def weights_file(base: Backbone) -> Path:
    """Where `+dinoiser` looks for the convolutions of a tower: `dinoiser/` in the cache, the tower's name as file."""
    return cache_root() / "dinoiser" / f"{re.sub('[^A-Za-z0-9._-]+', '_', base.name)}.safetensors"


def load_dinoiser(base: Backbone, weights: Path | None = None) -> Dinoiser:
    """`base` with the convolutions of a file, without one those at `weights_file(base)`.

    Nothing is downloaded; `InsightError` says where the convolutions can be had when they are not there.
    """
    if weights is None and not weights_file(base).is_file():
        raise InsightError(
            f"{weights_file(base)}: the convolutions of {base.name}+dinoiser are not there; get {PUBLISHED}"
            f" (about 7 MB, made for {PUBLISHED_BASE}) and import it with insight.backbones.dinoiser.import_published,"
            " or train them with scripts/train_dinoiser.py"
        )
    return Dinoiser(base, read_convolutions(weights or weights_file(base)))
