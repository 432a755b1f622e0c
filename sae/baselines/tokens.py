"""Features on their way into a baseline, to fit on or to be encoded, and codes on their way out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..errors import InsightError
from ..sources import TokenSource

_BATCH = 4096


def stream(source: TokenSource, n_tokens: int, seed: int) -> Iterator[Tensor]:
    """Float32 batches [b, d] of the first `n_tokens` tokens of the source's shuffled order, or of all if it has fewer.

    `InsightError` on NaN or infinite features.
    """
    if n_tokens < 1:
        raise InsightError(f"n_tokens: expected at least 1, found {n_tokens}")
    left = min(n_tokens, source.n_tokens)
    batches = source.batches(min(_BATCH, left), seed=seed)
    while left > 0:
        batch = next(batches)[:left].float()
        left -= len(batch)
        yield finite(batch, "fit")


def sample(source: TokenSource, n_tokens: int, seed: int) -> Tensor:
    """The tokens of `stream`, float32 [n, d]. `InsightError` as there, and where all tokens are the same."""
    tokens = torch.cat(list(stream(source, n_tokens, seed)))
    if bool((tokens == tokens[0]).all()):
        raise InsightError(f"fit: expected features that vary, found {len(tokens)} tokens which are all the same")
    return tokens


def checked(x: Tensor, like: Tensor) -> Tensor:
    """Features x [..., d] as tokens [n, d] in the type and place of `like` [m, d].

    `InsightError` on another width or on NaN or infinite features.
    """
    dim = like.shape[1]
    if x.dim() < 1 or x.shape[-1] != dim:
        raise InsightError(f"encode: expected features [..., {dim}], found {list(x.shape)}")
    return finite(x.reshape(-1, dim).to(like), "encode")


def finite(tokens: Tensor, what: str) -> Tensor:
    """The tokens [n, d] themselves. `InsightError` where one is NaN or infinite."""
    if not bool(torch.isfinite(tokens).all()):
        bad = f"{int((~torch.isfinite(tokens)).any(1).sum())} of {len(tokens)} tokens"
        raise InsightError(f"{what}: expected finite features, found NaN or infinity in {bad}; leave them out")
    return tokens


def codes_of(concepts: Tensor, activations: Tensor, n_concepts: int) -> SparseCodes:
    """Codes from a few candidates a token: int64 `concepts` [n, s], different where active, and `activations` [n, s].

    Those with an activation of 0 or less are not active.
    """
    concepts, order = concepts.sort(dim=1)
    activations = activations.gather(1, order)
    active = activations > 0
    offsets = torch.nn.functional.pad(active.sum(1).cumsum(0), (1, 0))
    return SparseCodes(offsets, concepts[active].to(torch.int32), activations[active], n_concepts)
