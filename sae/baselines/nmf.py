"""Non-negative factors as a dictionary: features are sums of parts.

In: features x of either sign. As what is factored must not be negative, every channel is split into what it is above
and what it is below the mean, s = [max(x - μ, 0), max(μ - x, 0)]; S ≈ A H with A, H >= 0. Out: `Parts`: codes of a
token are its non-negative Lasso in the rows of H (of unit norm), and the direction of a part is H⁺ - H⁻.
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..codes import SparseCodes
from ..errors import InsightError
from ..nested import reconstructions
from ..sources import TokenSource
from .sparse_coding import PROBE, lasso_codes, penalty_for
from .tokens import checked, finite, sample

_BATCH = 1024
_FOR_MEAN = 100_000


class Parts:
    """Parts H [m, 2 d] (unit rows, nowhere negative) about `mean` [d]; `penalty` is λ as in `SparseCoding`."""

    kind = "nmf"

    def __init__(self, parts: Tensor, mean: Tensor, penalty: float) -> None:
        self.parts, self.mean, self.penalty = parts, mean, penalty

    @property
    def n_concepts(self) -> int:
        """m."""
        return len(self.parts)

    @property
    def directions(self) -> Tensor:
        """[m, d]: H⁺ - H⁻, of norm 1 at most."""
        above, below = self.parts.tensor_split(2, dim=1)
        return above - below

    @torch.no_grad()
    def encode(self, x: Tensor) -> SparseCodes:
        """Codes [n, m] of features [..., d]. `InsightError` on another width or on NaN."""
        return lasso_codes(split(checked(x, self.mean[None]) - self.mean), self.parts, self.penalty)

    @torch.no_grad()
    def decode(self, codes: SparseCodes) -> Tensor:
        """Reconstructions [n, d]."""
        return reconstructions(codes, [self.n_concepts], self.directions, self.mean)[0]


def fit_nmf(source: TokenSource, n_concepts: int, *, k: float, n_tokens: int = 50_000, seed: int = 0) -> Parts:
    """`n_concepts` parts by mini-batch NMF (scikit-learn) on `n_tokens` tokens of the source's shuffled order, which
    goes round where there are fewer; λ gives k active parts a token on average, or fewer (see `penalty_for`).

    `InsightError` where the source has fewer tokens than parts, or all are the same.
    """
    if source.n_tokens < n_concepts:
        found = f"{source.n_tokens}; take fewer concepts or more tokens"
        raise InsightError(f"NMF: expected at least {n_concepts} tokens for as many concepts, found {found}")
    first = sample(source, _FOR_MEAN, seed)
    mean = first.mean(0, dtype=torch.float64).float()
    from sklearn.decomposition import MiniBatchNMF

    model = MiniBatchNMF(n_concepts, init="random", batch_size=_BATCH, random_state=seed % 2**32)
    for batch in islice(source.batches(_BATCH, seed=seed), -(-n_tokens // _BATCH)):
        model.partial_fit(split(finite(batch, "fit") - mean).cpu().numpy())
    parts = normalize(torch.from_numpy(model.components_).to(first), dim=1)
    return Parts(parts, mean, penalty_for(split(first[:PROBE] - mean), parts, k))


def split(centred: Tensor) -> Tensor:
    """[n, 2 d] >= 0: what is above 0, and what is below, of [n, d]."""
    return torch.cat([centred.clamp(min=0), (-centred).clamp(min=0)], dim=1)
