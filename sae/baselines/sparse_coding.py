"""Sparse coding in a given dictionary (SpLiCE, arXiv 2402.10376): nothing is learnt but a mean.

    z = norm(norm(x) - μ),   W = norm(norm(T) - mean T),   w = argmin over w >= 0 of ‖z - w W‖² + λ Σ w

In: rows T [m, d] in the space of the features (word vectors, say; what they mean is not known here). Out:
`SparseCoding`, whose activations are a = w ‖norm(x) - μ‖, so that μ + Σ a W reconstructs norm(x) itself. (As published,
z counts as the whole of norm(x) - μ, and reconstructions are norm(norm(w W) + μ), which is no sum of concepts.)
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..codes import SparseCodes
from ..config import Inputs
from ..errors import InsightError
from ..inputs import normalise
from ..nested import reconstructions
from ..sources import TokenSource
from .lasso import nonnegative_lasso
from .tokens import checked, finite, sample

PROBE = 1000
"""Tokens on which a penalty is sought."""
_CLOSE = 0.01
"""How near the number of active concepts is to come, as a share."""
_HALVINGS = 20
_LEAST_PENALTY = 1e-3


class SparseCoding:
    """Non-negative Lasso in unit `directions` [m, d] about `mean` [d], with the published λ as `penalty`."""

    kind = "sparse_coding"

    def __init__(self, directions: Tensor, mean: Tensor, penalty: float, inputs: Inputs = "unit_norm") -> None:
        """inputs: see `SaeConfig.inputs`; as with an autoencoder, `decode` gives tokens as they are after it."""
        if inputs not in get_args(Inputs):
            raise InsightError(f"sparse coding: inputs: expected one of {get_args(Inputs)}, found {inputs}")
        self.directions, self.mean, self.penalty, self.inputs = directions, mean, penalty, inputs

    @property
    def n_concepts(self) -> int:
        """m."""
        return len(self.directions)

    @torch.no_grad()
    def encode(self, x: Tensor) -> SparseCodes:
        """Codes [n, m] of features [..., d]. `InsightError` on another width or on NaN."""
        tokens = normalise(checked(x, self.directions), self.inputs).tokens
        return lasso_codes(tokens - self.mean, self.directions, self.penalty)

    @torch.no_grad()
    def decode(self, codes: SparseCodes) -> Tensor:
        """Reconstructions [n, d] of the features as encoded (with `unit_norm`: of the unit tokens)."""
        return reconstructions(codes, [self.n_concepts], self.directions, self.mean)[0]


def fit_sparse_coding(
    source: TokenSource,
    rows: Tensor,
    *,
    k: float | None = None,
    penalty: float | None = None,
    inputs: Inputs = "unit_norm",
    n_tokens: int = 100_000,
    seed: int = 0,
) -> SparseCoding:
    """Sparse coding of the source's features in `rows` T [m, d], centred as published.

    μ is the mean of at most `n_tokens` tokens. Either `penalty` (λ) is given, or `k`, the mean number of active
    concepts a token, for which λ is sought (see `penalty_for`).
    """
    if (k is None) == (penalty is None):
        raise InsightError(f"sparse coding: expected either k or penalty, found k = {k}, penalty = {penalty}")
    if rows.dim() != 2 or rows.shape[1] != source.dim or len(rows) < 2:
        raise InsightError(f"sparse coding: expected rows [2 or more, {source.dim}], found {list(rows.shape)}")
    unit = normalize(finite(rows.float(), "sparse coding"), dim=1)
    directions = normalize(unit - unit.mean(0), dim=1)
    tokens = normalise(sample(source, n_tokens, seed), inputs).tokens.to(directions)
    mean = tokens.mean(0, dtype=torch.float64).float()
    if penalty is None:
        assert k is not None
        penalty = penalty_for(tokens[:PROBE] - mean, directions, k)
    return SparseCoding(directions, mean, penalty, inputs)


def lasso_codes(centred: Tensor, atoms: Tensor, penalty: float) -> SparseCodes:
    """Codes [n, m] of `centred` tokens [n, e] in unit `atoms` [m, e]: w of each token's direction, times its norm."""
    norms = torch.linalg.vector_norm(centred, dim=1)
    unit = normalize(centred, dim=1, eps=torch.finfo(centred.dtype).tiny)
    codes = nonnegative_lasso(unit, atoms, penalty / 2)  # half of ‖z - w W‖² + λ Σ w
    activations = codes.activations * norms[codes.rows()]
    return SparseCodes(codes.offsets, codes.concepts, activations, codes.n_concepts)


def penalty_for(centred: Tensor, atoms: Tensor, k: float) -> float:
    """The λ with which `centred` tokens [n, e] have k active atoms on average, within a hundredth; or the least that is
    tried, where even that leaves fewer active, as few atoms may."""

    def active(penalty: float) -> float:
        return lasso_codes(centred, atoms, penalty).nnz / len(centred)

    low = high = 1.0
    while (count := active(low)) < k:
        low, high = low / 1.5, low
        if low < _LEAST_PENALTY:
            return high
    penalty = low
    for _ in range(_HALVINGS):
        if abs(count - k) <= _CLOSE * k:
            break
        penalty = (low * high) ** 0.5
        count = active(penalty)
        low, high = (penalty, high) if count > k else (low, penalty)
    return penalty
