"""Context: concepts that are often next to each other and seldom on each other, as sky and roof.

In: `RegionPairs` and the `MatchedNull`. Out: `ContextPairs`, symmetric and apart from the graph of parents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import triu

from ..evidence.regions import RegionPairs
from .candidates import values_at
from .null import MatchedNull
from .significance import binomial_tail, q_values

OFTEN = 0.1
"""Share of either concept's regions that have to be beside the other.

Set on training photos: a patch has four neighbours with some eight concepts each, and most regions are small, so even
snow and skis or tables and plates meet with no more than a fifth of their regions; with a twentieth, there are ten
times as many pairs, most of them bits of one texture."""
SELDOM = 0.1
"""Share of either concept's patches that may be in regions that stand on the other."""


@dataclass(frozen=True, eq=False)
class ContextPairs:
    """Unordered pairs of concepts, each once, the surest first."""

    pairs: np.ndarray
    """int32 [pairs, 2], the lower id first."""
    beside: np.ndarray
    """float32 [pairs, 2]: the share of the first's regions beside the second, and of the second's beside the first."""
    lift: np.ndarray
    """float32 [pairs]: those shares over what they are for the concepts' peers, the smaller of the two."""
    q_value: np.ndarray
    """float64 [pairs]: the smallest false discovery rate at which the pair is still found."""

    @classmethod
    def none(cls) -> ContextPairs:
        return cls(np.zeros((0, 2), np.int32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0))

    def __len__(self) -> int:
        return len(self.pairs)

    def of(self, concept: int) -> np.ndarray:
        """int32: the concepts that this one stands beside, the surest first."""
        ends, others = self._both_ways
        return others[slice(*np.searchsorted(ends, [concept, concept + 1]))]

    @cached_property
    def _both_ways(self) -> tuple[np.ndarray, np.ndarray]:
        ends, others = self.pairs.flatten(), self.pairs[:, ::-1].flatten()
        order = ends.argsort(kind="stable")
        return ends[order], others[order]


def find_context(
    regions: RegionPairs, null: MatchedNull, among: np.ndarray, *, q: float, min_lift: float
) -> ContextPairs:
    """Pairs of the concepts of the mask `among` [m] that stand beside each other more often than chance has it.

    Both ways round, at least `OFTEN` of a concept's regions are beside the other, at most `SELDOM` on it, and lift
    and the binomial tail are as for edges. Regions in one image are not independent: the share of regions is taken of
    as many trials as there are images (hits rounded down). The p-value of a pair is the greater of its two, and the
    false discovery rate is over all unordered pairs of `among`.
    """
    both = triu(regions.beside.minimum(regions.beside.T), k=1).tocoo()
    kept = among[both.row] & among[both.col]
    first, second = both.row[kept].astype(np.int64), both.col[kept].astype(np.int64)
    share, lift, p_value = np.zeros((len(first), 2)), np.zeros((len(first), 2)), np.ones((len(first), 2))
    often = np.ones(len(first), bool)
    for side, (row, column) in enumerate([(first, second), (second, first)]):
        total, images = np.maximum(regions.regions[row], 1), regions.images[row]
        share[:, side] = values_at(regions.beside, row, column) / total
        often &= share[:, side] >= OFTEN
        often &= values_at(regions.inside, row, column) <= SELDOM * regions.area[row]
        rate = null.rates(regions.beside, regions.regions, row, column)
        lift[:, side] = share[:, side] / rate
        p_value[:, side] = binomial_tail(np.floor(share[:, side] * images + 1e-9), images, rate)
    tested = np.flatnonzero(often & (lift.min(1) >= min_lift))
    n = int(among.sum())
    q_value = q_values(p_value[tested].max(1), n * (n - 1) // 2)
    found, q_value = tested[q_value <= q], q_value[q_value <= q]
    order = np.lexsort((second[found], first[found], -lift[found].min(1), q_value))
    found, q_value = found[order], q_value[order]
    return ContextPairs(
        pairs=np.column_stack([first[found], second[found]]).astype(np.int32),
        beside=share[found].astype(np.float32),
        lift=lift[found].min(1).astype(np.float32),
        q_value=q_value,
    )
