"""Principal components as a dictionary: every component is two concepts, its positive and its negative side.

In: features. Out: a `SparseAutoencoder` of tied weights, which is what the rule amounts to: x̂ = μ + Σ a W, a the k
largest positive projections of x - μ onto W = ±v. As components are orthonormal, those k are the best k of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..autoencoder import SparseAutoencoder
from ..config import SaeConfig
from ..errors import InsightError
from ..sources import TokenSource
from .tokens import stream


def fit_pca(
    source: TokenSource,
    n_concepts: int | None = None,
    *,
    k: int | None = None,
    n_tokens: int = 1_000_000,
    seed: int = 0,
) -> SparseAutoencoder:
    """The n_concepts / 2 leading components v_1, v_2, ... of at most `n_tokens` tokens; concepts v_1, -v_1, v_2, -v_2.

    n_concepts: even; None: all components in which the features vary. k: active concepts a token at most; None: one
    side of every component. Covariances are summed in float64, exactly, whatever the number of tokens. `InsightError`
    where the features vary in fewer directions than are wanted (as fewer tokens than components do).
    """
    mean, values, vectors = _components(source, n_tokens, seed)
    rank = len(values)
    wanted = 2 * rank if n_concepts is None else n_concepts
    if wanted < 2 or wanted % 2 or wanted > 2 * rank:
        expected = f"an even number of 2 to {2 * rank}, two for each direction in which the features vary"
        raise InsightError(f"PCA: n_concepts: expected {expected}, found {n_concepts}")
    leading = vectors[: wanted // 2]
    return tied(torch.stack([leading, -leading], dim=1).flatten(0, 1), mean, k)


def tied(directions: Tensor, mean: Tensor, k: int | None) -> SparseAutoencoder:
    """The autoencoder of unit `directions` [m, d] for encoder and decoder and bias `mean` [d]: the k (None: all)
    largest positive projections of a token are active."""
    m, dim = directions.shape
    sae = SparseAutoencoder(SaeConfig(dim, m, k=m if k is None else k, fractions=(1.0,), selection="topk"))
    with torch.no_grad():
        sae.encoder.copy_(directions)
        sae.decoder.copy_(directions)
        sae.decoder_bias.copy_(mean)
    return sae


def _components(source: TokenSource, n_tokens: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [d], variances [r] from the largest on, and unit components [r, d] of all directions with variance."""
    n, shift = 0, torch.zeros(0)
    for batch in stream(source, n_tokens, seed):
        rows = batch.double()
        if n == 0:
            shift = rows.mean(0)  # sums of what is near 0 lose no digits
            sums, products = torch.zeros_like(shift), rows.new_zeros(rows.shape[1], rows.shape[1])
        rows -= shift
        n += len(rows)
        sums += rows.sum(0)
        products.addmm_(rows.t(), rows)
    offset = sums / n
    mean = shift + offset
    covariance = products / n - offset[:, None] * offset
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0), vectors.flip(1).t()
    # What float32 features vary by rounding alone is no direction of theirs.
    rounding = torch.finfo(torch.float32).eps ** 2 * (covariance.trace() + mean.square().sum())
    living = values > torch.maximum(rounding, 1e-12 * values[0])
    values, vectors = values[living], vectors[living]
    largest = vectors.abs().argmax(1, keepdim=True)
    return mean.float(), values, (vectors * vectors.gather(1, largest).sign()).float()
