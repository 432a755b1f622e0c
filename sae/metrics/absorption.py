"""Whether other concepts fire in place of a label's own. In: tokens that have the label. Out: how much is absorbed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..errors import InsightError
from .probes import LinearProbe

ABSORBERS = 3
"""At most so many concepts may together absorb a token's share (SAEBench)."""
ABSORBER_COSINE = 0.1
"""A concept absorbs only where its direction has at least this cosine with the probe's (SAEBench)."""
FULL_COSINE = 0.025
"""The same for the one concept that absorbs a token whole (SAEBench)."""
LEAST_PART = 0.4
"""What absorbs must carry at least this part of the token's projection on the probe (SAEBench)."""


@dataclass(frozen=True)
class Absorption:
    """Absorption of one label, over the tokens with the label in which its probe sees it."""

    tokens: int
    """Tokens in which the probe sees the label; no others count."""
    fraction: float
    """Mean over them of the fraction of the label that other concepts carry instead of its own; NaN without tokens."""
    full: float
    """Share of them in which its own concepts are silent and one other carries it; NaN without tokens."""


class AbsorptionMeter:
    """Absorption of one label: O(nnz + n · d) work, 17 bytes a concept.

    `decoder` is [m, d]; p is the direction of the label's `probe`; `main`, int64, are the label's own concepts
    (`SparseProbe.main`). In a token x concept f carries a_f (W_f · p) of x · p: for unit rows SAEBench's
    a_f cos(p, W_f). With M what the main concepts carry, and A what the largest three others with a cosine of at least
    0.1 carry: fraction = A' / (A' + M), A' = min(A, x · p - M); but 0 where M >= x · p or A < 0.4 x · p or x · p <= 0,
    and else 1 where M <= 0. Full: the main concepts are silent, and the one concept that carries most has a cosine of
    at least 0.025 and carries at least 0.4 x · p > 0.

    For part-whole or kind-of hierarchies take the parent's probe and main concepts, and feed a meter for each child
    the child's tokens alone.
    """

    def __init__(self, decoder: Tensor, probe: LinearProbe, main: Tensor) -> None:
        if decoder.dim() != 2 or probe.direction.shape != decoder.shape[1:]:
            found = f"{list(probe.direction.shape)} for {list(decoder.shape)}"
            raise InsightError(f"AbsorptionMeter: expected a probe direction [d] for a decoder [m, d], found {found}")
        if not len(main) or not 0 <= int(main.min()) <= int(main.max()) < len(decoder):
            found = f"{main.tolist()}; a label without a concept cannot be absorbed"
            raise InsightError(f"AbsorptionMeter: expected concepts of 0 to {len(decoder) - 1}, found {found}")
        self._probe = probe
        direction = probe.direction.to(decoder.device)
        self._slope = decoder.detach().double() @ direction.double()
        lengths = torch.linalg.vector_norm(decoder.detach().double(), dim=1)
        self._cosine = torch.where(lengths > 0, self._slope / lengths, 0.0)
        self._main = torch.zeros(len(decoder), dtype=torch.bool, device=decoder.device)
        self._main[main.to(decoder.device)] = True
        self._tokens, self._fraction, self._full = 0, 0.0, 0

    def update(self, codes: SparseCodes, features: Tensor) -> None:
        """Take in tokens that have the label: codes, and features [n, d] in the space the decoder writes to.

        Subtract the decoder bias from the features where the label is to be measured against it (SAEBench does not).
        """
        if codes.n_concepts != len(self._slope) or features.shape != (codes.n, len(self._probe.direction)):
            expected = f"codes of {len(self._slope)} concepts and features [{codes.n}, {len(self._probe.direction)}]"
            found = f"{codes.n_concepts} and {list(features.shape)}"
            raise InsightError(f"AbsorptionMeter: expected {expected}, found {found}")
        device = self._slope.device
        along = features.to(device).double() @ self._probe.direction.to(device).double()
        seen = (along > self._probe.offset).nonzero()[:, 0]
        fraction, full = self._absorbed(codes.to(device)[seen], along[seen])
        self._tokens += len(seen)
        self._fraction += float(fraction.sum())
        self._full += int(full.sum())

    def merge(self, other: AbsorptionMeter) -> None:
        """Add another pass over other tokens with the same label; `other` keeps its own."""
        ours, theirs = ((meter._slope.cpu(), meter._main.cpu()) for meter in (self, other))
        if not all(map(torch.equal, ours, theirs)):
            raise InsightError("AbsorptionMeter: expected a meter of one decoder, probe and concepts, found another")
        self._tokens += other._tokens
        self._fraction += other._fraction
        self._full += other._full

    def result(self) -> Absorption:
        """What was measured so far."""
        if not self._tokens:
            return Absorption(0, float("nan"), float("nan"))
        return Absorption(self._tokens, self._fraction / self._tokens, self._full / self._tokens)

    def _absorbed(self, codes: SparseCodes, along: Tensor) -> tuple[Tensor, Tensor]:
        """Per token the fraction, float64 [n], and whether it is absorbed in full, bool [n]; `along` is x · p."""
        rows, concepts = codes.rows(), codes.concepts.long()
        carries = codes.activations.double() * self._slope[concepts]
        cosine, own = self._cosine[concepts], self._main[concepts]
        main = along.new_zeros(codes.n).index_add(0, rows[own], carries[own])
        able = ~own & (cosine >= ABSORBER_COSINE) & (carries > 0)
        absorber = _sum_of_largest(rows[able], carries[able], ABSORBERS, codes.n)
        taken = torch.minimum(absorber, along - main)
        fraction = torch.where(main > 0, taken / (taken + main), 1.0)
        fraction[(along <= 0) | (main >= along) | (absorber < LEAST_PART * along)] = 0.0

        silent = torch.bincount(rows[own], minlength=codes.n) == 0
        most = along.new_zeros(codes.n).scatter_reduce(0, rows, carries, "amax")
        top = (carries == most[rows]) & (cosine >= FULL_COSINE)
        aligned = torch.bincount(rows[top], minlength=codes.n) > 0
        return fraction, silent & aligned & (along > 0) & (most >= LEAST_PART * along)


def _sum_of_largest(rows: Tensor, values: Tensor, k: int, n: int) -> Tensor:
    """[n]: the sum of the k largest values of each row."""
    values, order = values.sort(descending=True)
    rows, order = rows[order].sort(stable=True)
    values = values[order]
    first = torch.bincount(rows, minlength=n).cumsum(0).roll(1)
    first[:1] = 0
    rank = torch.arange(len(rows), device=rows.device) - first[rows]
    return values.new_zeros(n).index_add(0, rows[rank < k], values[rank < k])
