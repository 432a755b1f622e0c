"""The two alignments of XCoOp as pure functions: of learnt prompts with hard ones, and of their tokens.

In: vectors of N learnt prompts for C classes. Out: cross-entropies over "whose hard prompt is this?".
Source: Bie et al., arXiv 2403.09410, and their code.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def by_concept(soft: Float[Tensor, "N C d"], hard: Float[Tensor, "N C d"], scale: float) -> Float[Tensor, ""]:
    """Mean over n of CE_c( scale <soft[n, c], hard[n, c']> ), target c' = c: prompt n is held to hard prompt n."""
    logits = scale * torch.einsum("ncd,nkd->nck", soft, hard)
    return _own(logits.flatten(0, 1), len(soft))


def by_class(soft: Float[Tensor, "N C d"], hard: Float[Tensor, "C d"], scale: float) -> Float[Tensor, ""]:
    """CE_c( scale <norm(mean_n soft[n, c]), hard[c']> ), target c' = c: as published, the mean prompt is held."""
    return _own(scale * F.normalize(soft.mean(0), dim=-1) @ hard.T, 1)


def by_place(soft: Float[Tensor, "N C L width"], hard: Float[Tensor, "C M width"], scale: float) -> Float[Tensor, ""]:
    """As published: CE_c( scale sum_t <mean_n soft[n, c, t], hard[c', t]> ), over the places t that both have.

    Tokens are unit vectors, or zero for padding (the authors take all 77 places, padding too). Contexts stand in the
    first places, where the hard prompts of all classes say "a photo of a": there the logits are the same for every c',
    and the softmax does not see them. So this loss gives the contexts no gradient, but where hard prompts begin in
    different words ("a photo of an").
    """
    length = min(soft.shape[2], hard.shape[1])
    return _own(scale * torch.einsum("clw,klw->ck", soft.mean(0)[:, :length], hard[:, :length]), 1)


def _own(logits: Float[Tensor, "NC C"], times: int) -> Float[Tensor, ""]:
    """Mean cross-entropy of rows that stand for the classes in their order, `times` over."""
    return F.cross_entropy(logits, torch.arange(logits.shape[1], device=logits.device).repeat(times))
