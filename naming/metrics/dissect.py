"""CLIP-Dissect's soft-WPMI: which phrases the images that a concept fires on have in common, and others have not.

In: activations of m concepts over images, and how similar each image is to each of v phrases by a model of images and
text. Out: a score [m, v], in nats. (Oikarinen and Weng, CLIP-Dissect, ICLR 2023, section 3.2.)
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sae import SparseCodes
from sae.errors import InsightError

STRONGEST = 100
"""Images that stand for a concept, as published."""
SHARPNESS = 10.0
"""What cosines are multiplied by before the softmax over phrases, as published."""
SUREST, UNSUREST = 0.998, 0.97
"""How likely the strongest image, and the last of the strongest, is of the concept, as in the published code."""
TOGETHER = 8
"""Factors, each above 0.002, that float32 can multiply before a logarithm is needed."""


def soft_wpmi(
    codes: SparseCodes,
    similarities: Float[Tensor, "images v"],
    *,
    strongest: int = STRONGEST,
    sharpness: float = SHARPNESS,
    prior: float = 1.0,
) -> Float[Tensor, "m v"]:
    """log p(phrase | concept) - `prior` · log p(phrase).

    `codes`: one row for each image, its largest activation of each concept (`SparseCodes.max_by_group`). With
    p(t | x) = softmax over phrases of `sharpness` · similarity and p(x) the chance that image x is of the concept,
    p(t | concept) = Π_x (1 + p(x) (p(t | x) - 1)) over its `strongest` images, p(x) falling evenly with their rank; and
    p(t) is the mean of that over the concepts.

    Of a concept that fires in fewer images those alone are taken, and log p(t | concept) is scaled up to `strongest`,
    so that p(t) is not ruled by the rare. NaN for one that never fires. Work and memory: m · strongest · v, and m · v.
    """
    if similarities.dim() != 2 or len(similarities) != codes.n:
        raise InsightError(f"soft_wpmi: expected a row of similarities for each of {codes.n} images, found another")
    if strongest < 1:
        raise InsightError(f"soft_wpmi: expected at least one image for each concept, found {strongest}")
    share = torch.softmax(sharpness * similarities.to(torch.promote_types(similarities.dtype, torch.float32)), dim=1)
    images, counts = _strongest(codes, strongest)
    sure = SUREST - torch.arange(strongest, dtype=share.dtype) / strongest * (SUREST - UNSUREST)
    given = share.new_full((codes.n_concepts, share.shape[1]), float("nan"))
    for concept, of_concept in enumerate(images.split(counts.tolist())):
        if len(of_concept):
            chance = sure[: len(of_concept), None]
            factors = (1 - chance) + chance * share[of_concept]
            logs = sum(part.prod(0).log() for part in factors.split(TOGETHER))
            given[concept] = logs * (strongest / len(of_concept))
    living = counts > 0
    if not bool(living.any()):
        return given
    overall = torch.logsumexp(given[living], dim=0) - math.log(int(living.sum()))
    return given - prior * overall


def _strongest(codes: SparseCodes, size: int) -> tuple[Tensor, Tensor]:
    """By concept, the images in which it is strongest, of equal ones the first: images [sum of counts], counts [m]."""
    order = codes.activations.argsort(descending=True, stable=True)
    order = order[codes.concepts[order].argsort(stable=True)]
    counts = torch.bincount(codes.concepts, minlength=codes.n_concepts)
    start = counts.cumsum(0) - counts
    rank = torch.arange(len(order)) - start[codes.concepts[order].long()]
    return codes.rows()[order[rank < size]], counts.clamp_max(size)
