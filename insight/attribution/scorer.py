"""What an explainer asks of a model: how strongly photos speak for each of some texts, as a function it can follow.

Comes from `scorer_of(model, texts)`, of any model of this project; goes into every `Explainer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sae.errors import InsightError

from ..backbones import Backbone, DenseFeatures


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores of T texts (or classes), differentiable in the features.

    backbone: the encoder, tuned or not; texts: what is asked about; score: from the `DenseFeatures` of B photos to
    [B, T], row by row independent of the other photos; vectors: unit vectors [T, d] of the texts in the space of the
    patches, where the model has such.
    """

    backbone: Backbone
    texts: tuple[str, ...]
    score: Callable[[DenseFeatures], Float[Tensor, "B T"]]
    vectors: Float[Tensor, "T d"] | None = None

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T"]:
        """Scores of photos in [0, 1]."""
        return self.score(self.backbone.encode_image(images))


@runtime_checkable
class Explainable(Protocol):
    """Any model that says how it scores texts: fine-tuned models (`insight.methods`) and heads."""

    def scorer(self, texts: Sequence[str]) -> Scorer:
        """Its scores of these texts; `InsightError` for texts it has no score of."""


def scorer_of(model: Explainable | Backbone, texts: Sequence[str]) -> Scorer:
    """How a model scores texts. A backbone: by the cosine of the photo's vector and the text's."""
    if isinstance(texts, str):
        raise InsightError(f"texts: expected several, found one, {texts!r}; give a list or tuple")
    if not len(texts):
        raise InsightError("texts: expected at least one, found none")
    if isinstance(model, Backbone):
        return cosine_scorer(model, texts)
    if isinstance(model, Explainable):
        return model.scorer(texts)
    raise InsightError(f"model: expected a backbone or a fitted model with `scorer`, found {type(model).__name__}")


def cosine_scorer(backbone: Backbone, texts: Sequence[str]) -> Scorer:
    """Scores by the cosine of the photo's vector and the text's."""
    vectors = backbone.encode_text(list(texts)).detach()
    return Scorer(backbone, tuple(texts), lambda features: F.normalize(features.pooled, dim=-1) @ vectors.T, vectors)
