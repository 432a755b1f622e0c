"""M2IB: the parts of a photo, or the words of a text, that the two need in order to match.

In: a scorer and photos, or a backbone, photos and their texts. Out: nats at each place of a photo, or of each token.
An information bottleneck (`bottleneck.information`) stands behind one block of one tower; the other tower is untouched.
Source: Wang et al., "Visual Explanations of Image-Text Representations via Multi-Modal Information Bottleneck
Attribution" (M2IB, NeurIPS 2023); settings and order of steps are those of its published code. That code runs both
towers in full at every step; what lies before the bottleneck is computed once here, and pairs run together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ..backbones import Backbone
from ..backbones.text_towers import TextTokens
from .at_rest import at_rest
from .bottleneck import information
from .explainer import Explainer
from .scorer import Scorer

VALUES_AT_ONCE = 1 << 24
"""Values of noisy tokens that are kept for gradients at a time, counted once for each block: bounds the memory."""


@dataclass(frozen=True, eq=False)
class TextMap:
    """How much each token of a text says about a photo; start, end and padding are left out.

    text: as given; pieces: what its k tokens say; scores: [k], nats that have to get through for the match.
    """

    text: str
    pieces: tuple[str, ...]
    scores: Float[Tensor, " k"]


@dataclass(frozen=True)
class M2IB(Explainer):
    """Multi-modal information bottleneck attribution.

    layer: the bottleneck stands on the output of this block, counted from 0, and needs a block behind it; None: three
    quarters of the depth (9 of 12, as published), or the last that has a block behind it. text_layer: likewise in the
    text tower. beta: weight of the information against the score. sigma: deviation of the noise, in the units of the
    tokens. steps: forward passes as published, whose map is that of the last one and is read before the step that would
    follow; so the mask is moved steps - 1 times. samples: noisy copies of each pair. lr: of Adam. seed: of the
    noise, drawn on the CPU: float32 [samples, tokens, width], anew for each step and the same for every pair.
    """

    layer: int | None = None
    beta: float = 0.1
    sigma: float = 1.0
    steps: int = 10
    samples: int = 10
    lr: float = 1.0
    seed: int = 0
    text_layer: int | None = None

    name = "m2ib"

    def __post_init__(self) -> None:
        for name, least in (("beta", 0), ("steps", 1), ("samples", 1)):
            if not getattr(self, name) >= least:
                raise InsightError(f"m2ib: {name} must be at least {least}, found {getattr(self, name)}")
        for name in ("sigma", "lr"):
            if not getattr(self, name) > 0:
                raise InsightError(f"m2ib: {name} must be above 0, found {getattr(self, name)}")

    def maps(self, scorer: Scorer, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T h w"]:
        """Nats that have to get through at each patch for the score of each text, on the patch grid; at least 0.

        The score is the scorer's own: of a plain backbone the cosine, as published; of a fitted model whatever it
        scores by, logits mostly, against which `beta` then weighs less. `InsightError` for a backbone without blocks
        and for a layer with no block behind it.
        """
        backbone, grid, n_texts = scorer.backbone, scorer.backbone.grid_for(images), len(scorer.texts)
        cut = self._cut(f"backbone {backbone.name}", backbone.depth, self.layer)
        n_tokens = backbone.n_prefix + grid[0] * grid[1]
        most = self._at_once(n_tokens * backbone.width * (backbone.depth - cut))

        def score(mixed: Tensor, text: Tensor) -> Tensor:
            features, _ = backbone.suffix(mixed.flatten(0, 1), cut, grid=grid)
            scores = scorer.score(features).unflatten(0, mixed.shape[:2])
            return scores.take_along_dim(text[:, None, None], dim=2)[..., 0]

        found = []
        with at_rest(backbone):
            for group in images.split(max(1, most // n_texts)):
                with torch.no_grad():
                    z = backbone.prefix(group, cut)
                counted = torch.ones(n_tokens, dtype=torch.bool, device=z.device)
                for pairs in torch.arange(len(z) * n_texts, device=z.device).split(most):
                    photo, text = pairs // n_texts, pairs % n_texts
                    found.append(
                        information(
                            z[photo],
                            partial(score, text=text),
                            self._noises(n_tokens, z),
                            counted.expand(len(pairs), -1),
                            self.beta,
                            self.sigma,
                            self.lr,
                        )
                    )
        nats = torch.cat(found)[:, backbone.n_prefix :]
        return nats.unflatten(0, (len(images), n_texts)).unflatten(2, grid)

    def text_maps(self, backbone: Backbone, images: Float[Tensor, "n 3 H W"], texts: Sequence[str]) -> list[TextMap]:
        """Nats that have to get through at each token of text i for its cosine with photo i, whose vector stands still.

        A pair's scores are the same beside any other pairs. In towers that read their padding (SigLIP's), the padding
        passes unhindered and may carry what the words are kept from saying. `InsightError` for a backbone without a
        text tower that can be cut, for a layer with no block behind it, and unless there are as many texts as photos.
        """
        if isinstance(texts, str) or len(texts) != len(images):
            found_texts = "a single string" if isinstance(texts, str) else f"{len(texts)} texts"
            raise InsightError(f"m2ib: expected one text for each of {len(images)} photos, found {found_texts}")
        tower = backbone.text_tower
        cut = self._cut(f"the text tower of backbone {backbone.name}", tower.depth, self.text_layer)
        most = self._at_once(tower.context_length * tower.width * (tower.depth - cut))

        def score(mixed: Tensor, tokens: TextTokens, vectors: Tensor) -> Tensor:
            times = partial(torch.repeat_interleave, repeats=self.samples, dim=0)
            copies = TextTokens(times(tokens.ids), times(tokens.real), times(tokens.end))
            written = tower.suffix(mixed.flatten(0, 1), copies, cut).unflatten(0, mixed.shape[:2])
            return (written @ vectors[..., None])[..., 0]

        maps = []
        with at_rest(backbone):
            for first in range(0, len(texts), most):
                some = list(texts[first : first + most])
                with torch.no_grad():
                    vectors = F.normalize(backbone.encode_image(images[first : first + most]).pooled, dim=-1)
                    tokens = tower.tokens(some)
                    z = tower.prefix(tower.embed(tokens), tokens, cut)
                noises = (noise[:, : z.shape[1]] for noise in self._noises(tower.context_length, z))
                nats = information(
                    z,
                    partial(score, tokens=tokens, vectors=vectors),
                    noises,
                    tokens.real,
                    self.beta,
                    self.sigma,
                    self.lr,
                )
                for text, ids, content, own in zip(some, tokens.ids, tokens.content, nats, strict=True):
                    maps.append(TextMap(text, tuple(tower.pieces(ids[content])), own[content]))
        return maps

    def _cut(self, what: str, depth: int, layer: int | None) -> int:
        """The block that the bottleneck's output goes into."""
        if depth < 2:
            blocks = "one block alone" if depth else "no transformer blocks"
            raise InsightError(f"m2ib stands between two blocks of a transformer, but {what} has {blocks}")
        if layer is None:
            layer = min(depth * 3 // 4, depth - 2)
        if not 0 <= layer <= depth - 2:
            raise InsightError(
                f"m2ib: {what} has blocks behind layers 0 to {depth - 2}, found layer {layer}; None takes a fitting one"
            )
        return layer + 1

    def _at_once(self, values: int) -> int:
        """How many pairs run together; values: of one copy of one pair, over all blocks behind the bottleneck."""
        return max(1, VALUES_AT_ONCE // (values * self.samples))

    def _noises(self, n_tokens: int, z: Tensor) -> Iterator[Float[Tensor, "samples tokens width"]]:
        """Noise for each move of the mask, on the device of the tokens z [P, N, width]."""
        random = torch.Generator().manual_seed(self.seed)
        for _ in range(self.steps - 1):
            noise = torch.randn(self.samples, n_tokens, z.shape[2], generator=random)
            yield self.sigma * noise.to(z.device)
