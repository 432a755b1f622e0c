"""Concept heads as scores that explainers can follow: from the features of a few photos to logits, differentiably.

In: a model and texts, or a fitted classifier's head and classes. Out: `Scorer`. The logits are those of the heads
(`text_head`, `head`); which concepts are active is decided as the autoencoder does, and is not differentiated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from naming import TEMPLATES
from sae import SparseAutoencoder, SparseCodes
from sae.inputs import normalise

from ..attribution import Scorer
from ..backbones import DenseFeatures
from .class_texts import ClassWords, word_vectors
from .defaults import TEMPERATURE
from .head import Head, class_rows
from .pooling import TOP_SHARE, Pooling
from .token_head import SHORTEST

if TYPE_CHECKING:
    from ..model import ConceptModel


def text_scorer(model: ConceptModel, texts: Sequence[str], templates: Sequence[str] = TEMPLATES) -> Scorer:
    """score_t = cos(x̂, t) / temperature, x̂ the mean reconstruction of a photo's patches: `TextHead`'s logit, whose
    sum over concepts it is. Each text has its own, whatever the others are; two texts are no pair of classes here."""
    words = ClassWords(tuple(texts), tuple((text,) for text in texts))
    sae, bias = model.sae, model.sae.decoder_bias.detach()
    vectors = word_vectors(model.backbone, words, templates).to(bias)

    def score(features: DenseFeatures) -> Tensor:
        mean = pooled_activations(sae, features.patches, "mean")
        return F.normalize(mean @ sae.directions + bias, dim=1) @ vectors.T / TEMPERATURE

    return Scorer(model.backbone, tuple(texts), score, vectors)


def head_scorer(
    model: ConceptModel, head: Head, pooling: Pooling, classes: Sequence[str], numbers: Int64[np.ndarray, " T"]
) -> Scorer:
    """The logits of some classes of a head, by their numbers; of a head of two classes each one's log-odds."""
    sae, (rows, sign) = model.sae, class_rows(numbers, len(head.intercept))

    def constant(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(sae.encoder.detach())

    coef, intercept = constant((head.coef[rows] * sign[:, None]).T), constant(head.intercept[rows] * sign)
    text = head.text
    if text is not None:
        weights, shift = constant(text.weights[:, rows] * sign), constant(text.intercept[rows] * sign)
        directions, bias = constant(text.directions), constant(text.bias)

    def score(features: DenseFeatures) -> Tensor:
        row = pooled_activations(sae, features.patches, pooling)
        logits = row @ coef + intercept
        if text is None:
            return logits
        mean = row[:, -head.n_concepts :]
        lengths = torch.linalg.vector_norm(mean @ directions + bias, dim=1, keepdim=True).clamp_min(SHORTEST)
        return logits + (mean @ weights + shift) / lengths

    vectors = None if text is None else constant(text.vectors[numbers])
    return Scorer(model.backbone, tuple(classes), score, vectors)


def pooled_activations(
    sae: SparseAutoencoder, patches: Float[Tensor, "B p d"], pooling: Pooling
) -> Float[Tensor, "B F"]:
    """`insight.heads.pooling.pool` of the codes of photos, dense and differentiable in the patches."""
    images, tokens = patches.shape[:2]
    codes, values = _activations(sae, patches.flatten(0, 1).to(sae.encoder.dtype))
    rows, concepts, m = codes.rows(), codes.concepts.long(), codes.n_concepts
    cell, none = torch.div(rows, tokens, rounding_mode="floor") * m + concepts, values.new_zeros(images * m)
    parts = []
    if pooling in ("max", "max+mean"):
        parts.append(none.scatter_reduce(0, cell, values, "amax"))
    if pooling in ("mean", "max+mean"):
        parts.append(none.index_add(0, cell, values) / tokens)
    if pooling != "top":
        return torch.cat([part.view(images, m) for part in parts], dim=1)
    count, found = max(1, round(TOP_SHARE * tokens)), []
    for first in range(0, codes.n, tokens):  # dense for one photo at a time
        own = (rows >= first) & (rows < first + tokens)
        dense = values.new_zeros(tokens, m).index_put((rows[own] - first, concepts[own]), values[own])
        found.append(dense.topk(count, dim=0).values.sum(0) / count)
    return torch.stack(found)


def _activations(sae: SparseAutoencoder, x: Float[Tensor, "n d"]) -> tuple[SparseCodes, Float[Tensor, " nnz"]]:
    """Codes, and their activations as functions of x: the pre-activations of the pairs that `encode` keeps.

    Where gradients are asked for all pre-activations [n, m] are there: it is for a few photos at a time.
    """
    codes = sae.encode(x)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return codes, codes.activations
    encoder, _, encoder_bias, decoder_bias = sae.weights
    tokens = normalise(x.to(encoder.device), sae.config.inputs).tokens
    every = torch.addmm(encoder_bias, tokens - decoder_bias, encoder.T)
    return codes, every[codes.rows(), codes.concepts.long()]
