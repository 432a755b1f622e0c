"""Sums over ordered pairs of concepts, sparse: exact, or with a bounded number of partners for each concept.

In: sparse matrices [m, m] of what one part of the data adds. Out: their sum. Memory: 4 bytes of pattern and 8 a number
for each pair that is held (all that ever met, or at most 2 · m · most_partners), up to three times that while sums are
merged; no array has m² cells.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

from sae.errors import InsightError

Planes = tuple[csr_array, ...]
"""Matrices [m, m] of one sorted pattern."""


class PairSums:
    """Sums of matrices [m, m] of one pattern ("planes"), real or complex: a complex one holds two numbers a pair.

    The real part of the first plane counts: whole numbers > 0, and no other number exceeds a constant times it.

    With `most_partners` = c each row keeps c pairs beside its diagonal, those of largest credit (Misra and Gries 1982,
    merged as by Agarwal et al. 2012). Credit grows with the count. A row of more than 2c partners gives up its
    (c + 1)-th largest credit: so much is taken from every credit of the row, and pairs left without are dropped.

    Bound: a pair lacks at most `missed`[i] of its true count (and the constant times that of its other numbers), and
    `missed`[i] <= (true counts of row i off the diagonal) / (c + 1).
    Proof: a pair's count exceeds its credit by what was taken from its row while it was held. When it is dropped its
    credit is no more than what is taken then, so it never lost more than all that was ever taken, which is `missed`.
    What is taken once is taken from c + 1 credits or more, and all credit that a row was ever given is its counts.
    So a pair that was never dropped has its exact numbers; where no row has more than c partners, all are exact.
    """

    def __init__(self, n_concepts: int, n_planes: int = 1, most_partners: int | None = None) -> None:
        if n_concepts < 1:
            raise InsightError(f"expected at least one concept, found {n_concepts}")
        if most_partners is not None and most_partners < 1:
            raise InsightError(f"most_partners: expected at least 1, found {most_partners}")
        self.n_concepts, self.n_planes, self.most_partners = n_concepts, n_planes, most_partners
        self.missed: np.ndarray = np.zeros(n_concepts)
        self._sums: list[Planes] = []  # each at least twice the next; with `most_partners` the last plane is credit

    def add(self, planes: Planes) -> None:
        """Add matrices whose rows are sorted and name no pair twice."""
        if self.most_partners is not None:
            planes = (*planes, _like(planes[0], planes[0].data.real.copy()))
        self._push(planes)

    def merge(self, other: PairSums) -> None:
        """Add the sums of another part of the data; `other` keeps its own."""
        if other.most_partners != self.most_partners:
            found = f"{self.most_partners} and {other.most_partners}"
            raise InsightError(f"expected sums of the same `most_partners`, found {found}; gather both alike")
        planes = other._merged()
        self.missed = self.missed + other.missed
        if planes is not None:
            self._push(planes)

    def total(self) -> Planes:
        """The sums, without credit."""
        planes = self._merged()
        if planes is None:
            return tuple(csr_array((self.n_concepts,) * 2, dtype=np.complex128) for _ in range(self.n_planes))
        return planes[: self.n_planes]

    def arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """All of the state, for `restore`; each name begins with `prefix`."""
        planes = self._merged()
        if planes is None:
            n_planes = self.n_planes + (self.most_partners is not None)
            planes = (csr_array((self.n_concepts,) * 2, dtype=np.float64),) * n_planes
        pattern = planes[0]
        values = {f"plane{number}": plane.data for number, plane in enumerate(planes[: self.n_planes])}
        credit = planes[-1].data if self.most_partners is not None else np.zeros(0)
        limit = np.array(self.most_partners or 0)
        state = {"offsets": pattern.indptr, "concepts": pattern.indices, "credit": credit, "missed": self.missed}
        return {prefix + name: array for name, array in {**state, **values, "most_partners": limit}.items()}

    @staticmethod
    def names(prefix: str = "", n_planes: int = 1) -> list[str]:
        """What `arrays` names."""
        own = ["offsets", "concepts", "credit", "missed", "most_partners"]
        return [prefix + name for name in [*own, *(f"plane{number}" for number in range(n_planes))]]

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], prefix: str, n_concepts: int, n_planes: int) -> PairSums:
        """Sums from what `arrays` gave; `ValueError` or `InsightError` where it is not square and sorted."""
        state = {name: arrays[prefix + name] for name in cls.names("", n_planes)}
        restored = cls(n_concepts, n_planes, int(state["most_partners"]) or None)
        if state["missed"].shape != (n_concepts,):
            raise ValueError(f"missed of {n_concepts} concepts expected, {state['missed'].shape} found")
        restored.missed = state["missed"].astype(np.float64)
        values = [state[f"plane{number}"] for number in range(n_planes)]
        values += [state["credit"]] if restored.most_partners else []
        shape = (n_concepts, n_concepts)
        planes = tuple(csr_array((value, state["concepts"], state["offsets"]), shape=shape) for value in values)
        for plane in planes:
            plane.check_format()
        if not planes[0].has_canonical_format:
            raise ValueError("rows that are not sorted")
        if planes[0].nnz:
            restored._push(planes)
        return restored

    def _push(self, planes: Planes) -> None:
        """Sums grow like a binary counter, so that each pair is added O(log chunks) times."""
        self._sums.append(planes)
        while len(self._sums) > 1 and self._sums[-2][0].nnz < 2 * self._sums[-1][0].nnz:
            self._join()

    def _join(self) -> None:
        joined = _added(self._sums.pop(), self._sums.pop())  # which are held no longer while rows are cut
        self._sums.append(self._pruned(joined, slack=2))

    def _merged(self) -> Planes | None:
        while len(self._sums) > 1:
            self._join()
        if self._sums:
            self._sums[0] = self._pruned(self._sums[0], slack=1)
        return self._sums[0] if self._sums else None

    def _pruned(self, planes: Planes, slack: int) -> Planes:
        """`planes` with at most c partners in each row that had more than `slack` · c."""
        c = self.most_partners
        pattern, lengths = planes[0], np.diff(planes[0].indptr)
        if c is None or not (lengths > slack * c).any():
            return planes
        row = np.repeat(np.arange(self.n_concepts, dtype=np.int32), lengths)
        partner = pattern.indices != row
        partners = np.bincount(row[partner], minlength=self.n_concepts)
        crowded = partners > slack * c
        if not crowded.any():
            return planes
        entries = np.flatnonzero(partner & crowded[row])
        credit = planes[-1].data
        order = entries[np.lexsort((-credit[entries], row[entries]))]
        starts = np.cumsum(partners[crowded]) - partners[crowded]
        taken = np.zeros(self.n_concepts)
        taken[crowded] = credit[order[starts + c]]
        self.missed += taken
        credit = credit.copy()
        credit[entries] -= taken[row[entries]]
        del entries, order, row
        kept = np.flatnonzero(~partner | (credit > 0))
        offsets = np.searchsorted(kept, pattern.indptr).astype(pattern.indptr.dtype)
        values = [plane.data[kept] for plane in (*planes[:-1], _like(pattern, credit))]
        first = csr_array((values[0], pattern.indices[kept], offsets), shape=pattern.shape)
        return (first, *(_like(first, value) for value in values[1:]))


def _added(one: Planes, other: Planes) -> Planes:
    first = one[0] + other[0]
    return (first, *(_like(first, (mine + yours).data) for mine, yours in zip(one[1:], other[1:])))


def _like(pattern: csr_array, values: np.ndarray) -> csr_array:
    return csr_array((values, pattern.indices, pattern.indptr), shape=pattern.shape)
