"""Random directions as a dictionary: what the projections alone are worth, without anything learnt but a mean."""

from __future__ import annotations

import torch

from ..autoencoder import SparseAutoencoder
from ..sources import TokenSource
from .pca import tied
from .tokens import stream


def random_dictionary(
    source: TokenSource, n_concepts: int, *, k: int, n_tokens: int = 1_000_000, seed: int = 0
) -> SparseAutoencoder:
    """`n_concepts` unit directions, uniform on the sphere; the k largest positive projections of x - μ are active.

    μ is the mean of at most `n_tokens` tokens. Directions follow from `seed`, the width and the number alone.
    """
    n, total = 0, torch.zeros(source.dim, dtype=torch.float64)
    for batch in stream(source, n_tokens, seed):
        n += len(batch)
        total += batch.sum(0, dtype=torch.float64).cpu()
    drawn = torch.randn(n_concepts, source.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return tied(torch.nn.functional.normalize(drawn, dim=1).float(), (total / n).float(), k)
