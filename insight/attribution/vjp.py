"""Gradients of many texts' scores at one place, a text at a time: memory does not grow with the number of texts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sae.errors import InsightError


def gradients(
    scores: Float[Tensor, "B T"], place: Tensor, what: str, create_graph: bool = False
) -> Iterator[Float[Tensor, "B ..."]]:
    """For each text ∂ Σ_b scores[b, t] / ∂ place, of the shape of place: one backward pass for all B photos.

    Scores are row by row independent of other photos, so each photo has its own gradient. `create_graph`: the gradients
    can be differentiated again. `InsightError`, which begins with `what`, where the scores do not depend on the place.
    """
    n_texts = scores.shape[1]
    for text in range(n_texts):
        found = None
        if scores.requires_grad:
            kept = create_graph or text < n_texts - 1
            (found,) = torch.autograd.grad(
                scores[:, text].sum(), place, retain_graph=kept, create_graph=create_graph, allow_unused=True
            )
        if found is None:
            raise InsightError(f"{what}, on which these scores do not depend; use rise, or a model of other scores")
        yield found
