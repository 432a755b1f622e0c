"""`+dino`: a backbone's patches pooled by how alike a DINO sees them; it looks at the photo a second time.

    C_pq = cosine of the guide's vectors of patches p and q, 0 where it is below gamma
    F+_p = sum_q C_pq f_q / (sum_q C_pq + 1e-6)

f are the base's patches in the space of its texts; F+ is a weighted mean of them, so it is in the same space. The
guide's vectors are the values of its last block, all heads behind each other. Source: CLIP-DINOiser (arXiv 2312.12359,
section 3; its released configuration has the values of DINO ViT-B/16 and gamma 0.2), which Insight (arXiv 2601.13798)
takes over. Patches that no other resembles keep themselves: C_pp = 1.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from sae.errors import InsightError

from ..base import Backbone, DenseFeatures, fingerprint_of
from ..small import Small
from ..text_towers import TextTower
from ..timm_models.vision import TimmTransformer
from ..timm_models.vit import last_values

CODE_VERSION = "dino 1"  # change it when the same weights begin to give other vectors
GAMMA = 0.2  # cosines below it count for nothing: `gamma` in CLIP-DINOiser's released configuration
SMALL_GAMMA = 0.3  # for the values of `small`'s trunk (DINOv2 ViT-S/14), chosen on the train masks of MSRC
EPSILON = 1e-6  # of the sum of weights, as in its code
GUIDE = "timm:vit_base_patch16_224.dino"  # DINO ViT-B/16
CELLS = 1 << 24  # of the correlations that are held at a time: 64 MB of float32


def correlations(vectors: Tensor, gamma: float = GAMMA, rows: slice = slice(None)) -> Tensor:
    """Cosines of the patches `rows` with all patches, [B, n, d] -> [B, rows, n], 0 where they are below gamma."""
    unit = normalize(vectors, dim=-1)
    cosines = unit[:, rows] @ unit.mT
    return cosines * (cosines >= gamma)


def pool(patches: Tensor, weights: Tensor) -> Tensor:
    """Mean of the patches [B, n, d] for each row of weights [B, m, n], which are not below 0: [B, m, d].

    Not scaled to unit length. Rows of a sum far below 1e-6 go to zero.
    """
    return weights @ patches / (weights.sum(-1, keepdim=True) + EPSILON)


def pool_alike(patches: Tensor, vectors: Tensor, gamma: float = GAMMA) -> Tensor:
    """`pool(patches, correlations(vectors, gamma))`, some rows at a time where the [B, n, n] would be large."""
    batch, n, _ = vectors.shape
    step = max(1, CELLS // (batch * n))
    rows = [slice(start, start + step) for start in range(0, n, step)]
    return torch.cat([pool(patches, correlations(vectors, gamma, part)) for part in rows], dim=1)


def as_guide(guide: Backbone) -> TimmTransformer | Small:
    """The guide itself; `InsightError` unless patches can be compared by the values of its last block."""
    if not isinstance(guide, (TimmTransformer, Small)):
        raise InsightError(
            f"the guide {guide.name} has no values to compare patches by; expected a vision transformer of timm such as"
            f" {GUIDE}, or small"
        )
    last_values(guide.vit, guide.colour_mean.new_zeros(1, 1, guide.width))  # has blocks of a known make
    return guide


def values_of(guide: TimmTransformer | Small, images: Tensor, grid: tuple[int, int]) -> Tensor:
    """Values [B, h*w, width] of the guide's last block, for a grid (h, w) that need not be the photos' own.

    The guide sees photos [B, 3, H, W] in [0, 1] resized (bicubic, antialiased) to h x w of its own patches, and not
    resized where they have that size.
    """
    size = (grid[0] * guide.patch, grid[1] * guide.patch)
    if images.shape[-2:] != size:
        images = interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return last_values(guide.vit, guide.prefix(images, guide.depth - 1))[:, guide.n_prefix :]


class Guided(Backbone):
    """`base` with its patches pooled by the guide's correlations; `pooled` and texts are the base's own.

    It has no blocks to cut at (`depth` 0), because what goes from block to block of the base does not hold what the
    guide sees. Two models look at each photo: it costs the base's time and the guide's, unless the base is its own
    guide: then one forward gives both.
    """

    depth = width = n_prefix = 0
    has_class_token = False

    def __init__(self, base: Backbone, guide: Backbone, gamma: float = GAMMA) -> None:
        super().__init__()
        self.base = base
        self.guide = as_guide(guide)
        self.gamma = gamma
        self.name = f"{base.name}+dino"
        self.description = f"{base.description.rstrip('.')}; its patches pooled by what {guide.name} sees as alike."
        self.dim = base.dim
        self.patch = base.patch
        self.grid = base.grid
        self.image_size = base.image_size
        self.has_text = base.has_text
        self.set_colours(base.colour_mean.flatten().tolist(), base.colour_std.flatten().tolist())

    @cached_property
    def fingerprint(self) -> str:
        """From the base's, the guide's and gamma."""
        return fingerprint_of([self.base.fingerprint, CODE_VERSION, self.guide.fingerprint, str(self.gamma)])

    def encode_image(self, images: Tensor) -> DenseFeatures:
        if self.guide is self.base:
            z = self.base.prefix(images, self.base.depth - 1)
            features, _ = self.base.suffix(z, self.base.depth - 1, grid=self.grid_for(images))
            values = last_values(self.guide.vit, z)[:, self.base.n_prefix :]
        else:
            features = self.base.encode_image(images)
            values = values_of(self.guide, images, features.grid)
        return DenseFeatures(pool_alike(features.patches, values, self.gamma), features.pooled, features.grid)

    def encode_text(self, texts: list[str]) -> Tensor:
        """The base's."""
        return self.base.encode_text(texts)

    @property
    def logit_scale(self) -> float:
        """The base's."""
        return self.base.logit_scale

    @property
    def text_tower(self) -> TextTower:
        """The base's."""
        return self.base.text_tower


def load_dino(base: Backbone, guide: str | None = None) -> Guided:
    """`base` guided by the backbone of that name; without one `small` by itself, any other by DINO ViT-B/16.

    `InsightError` when the guide cannot be had; `small` as a guide needs no hub.
    """
    from ..registry import load

    guide = guide or (base.name if isinstance(base, Small) else GUIDE)
    try:
        seer = base if guide == base.name else load(guide)
        return Guided(base, seer, SMALL_GAMMA if isinstance(seer, Small) else GAMMA)
    except InsightError as error:
        raise InsightError(
            f"{base.name}+dino needs its guide: {error}; insight.backbones.guided.load_dino also takes the name of a"
            " guide that is here"
        ) from None
