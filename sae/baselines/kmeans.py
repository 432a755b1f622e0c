"""k-means as a dictionary: a token is a mixture of the centres next to it.

In: features. Out: `Centroids`. With k = 1 the code is the nearest centre, active at 1 (vector quantisation). With
more, the k nearest centres share an activation of 1 by how much nearer they are than the next one,

    a_j ∝ ‖x - c_(k+1)‖² - ‖x - c_j‖²,   Σ a_j = 1,

so that codes change continuously with x and reconstructions stay among the centres.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..errors import InsightError
from ..nested import reconstructions
from ..sources import TokenSource
from .tokens import checked, codes_of, sample

_ROWS = 4096
"""Tokens encoded at once."""


class Centroids:
    """Centres c_j = mean + directions_j, of which the `k` nearest of a token are active (fewer where some are as far
    as the next)."""

    kind = "kmeans"

    def __init__(self, directions: Tensor, mean: Tensor, k: int) -> None:
        """directions [m, d], mean [d]; k of 1 to m - 1."""
        if not 1 <= k < len(directions):
            raise InsightError(f"k-means: k: expected 1 to n_concepts - 1 = {len(directions) - 1}, found {k}")
        self.directions, self.mean, self.k = directions, mean, k

    @property
    def n_concepts(self) -> int:
        """m."""
        return len(self.directions)

    @torch.no_grad()
    def encode(self, x: Tensor) -> SparseCodes:
        """Codes [n, m] of features [..., d]. `InsightError` on another width or on NaN."""
        parts = [self._encode(part - self.mean) for part in checked(x, self.directions).split(_ROWS)]
        return SparseCodes.cat(parts)

    def _encode(self, centred: Tensor) -> SparseCodes:
        # ‖x‖² - ‖x - c‖² = 2 x·c - ‖c‖², so differences of these are those of the squared distances.
        near = torch.addmm(-self.directions.square().sum(1), centred, self.directions.t(), alpha=2)
        near, concepts = near.topk(self.k + 1, dim=1)
        gains = near[:, :-1] - near[:, -1:]
        total = gains.sum(1, keepdim=True)
        shares = torch.where(total > 0, gains / total, 1 / self.k)  # of centres all equally far, k have it
        return codes_of(concepts[:, :-1], shares, self.n_concepts)

    @torch.no_grad()
    def decode(self, codes: SparseCodes) -> Tensor:
        """Reconstructions [n, d]."""
        return reconstructions(codes, [self.n_concepts], self.directions, self.mean)[0]


def fit_kmeans(
    source: TokenSource,
    n_concepts: int,
    *,
    k: int = 1,
    n_tokens: int | None = None,
    iterations: int = 20,
    seed: int = 0,
) -> Centroids:
    """`n_concepts` centres by `iterations` of Lloyd's algorithm (faiss) on at most `n_tokens` tokens.

    n_tokens: default 256 a centre, as faiss itself would take. `InsightError` where fewer tokens differ than centres
    are wanted, or all are the same.
    """
    tokens = sample(source, 256 * n_concepts if n_tokens is None else n_tokens, seed).cpu()
    # Equal tokens have equal projections, and only they have.
    line = torch.randn(tokens.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    different = len(torch.unique(tokens.double() @ line))
    if different < n_concepts:
        expected = f"at least {n_concepts} different tokens for as many concepts"
        raise InsightError(f"k-means: expected {expected}, found {different}; take fewer concepts or more tokens")
    import faiss

    mean = tokens.mean(0, dtype=torch.float64).float()
    # All tokens that were sampled are used, be they few or many: the sample is this function's choice.
    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": len(tokens)}
    means = faiss.Kmeans(tokens.shape[1], n_concepts, niter=iterations, seed=seed % 2**31, **limits)
    means.train((tokens - mean).numpy())
    return Centroids(torch.from_numpy(means.centroids), mean, k)
