"""How well texts fit photos, and the losses on that: all are given scores [photos, texts].

In: cosines or scores. Out: one number each. `fits` says which texts are right for which photos; `shares` how much.
"""

from __future__ import annotations

from torch import Tensor


def fit(patches: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """How well each text fits each photo, [n, m]: its cosines with the patches, averaged with their own softmax."""
    cosines = patches @ texts.T
    return ((cosines / temperature).softmax(1) * cosines).sum(1)


def contrast(scores: Tensor, fits: Tensor, temperature: float) -> Tensor:
    """InfoNCE both ways where several may fit: -log of the share that the fitting ones have in each row and column."""
    logits = scores / temperature
    right = logits.masked_fill(~fits, -1e9)
    terms = [(logits.logsumexp(axis) - right.logsumexp(axis))[fits.any(axis)].mean() for axis in (0, 1)]
    return (terms[0] + terms[1]) / 2


def share(scores: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy between `shares`, scaled to a sum of 1 for each photo, and the softmax of its scores.

    Photos whose shares are all 0 are left out.
    """
    total = shares.sum(1, keepdim=True)
    terms = -(shares / total.clamp(min=1e-9) * (scores / temperature).log_softmax(1)).sum(1)
    return terms[total.squeeze(1) > 0].mean()
