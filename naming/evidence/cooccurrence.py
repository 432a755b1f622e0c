"""Which concepts fire on the same tokens: sparse counts over streamed codes, merged across processes.

In: `SparseCodes`, chunk by chunk in any order. Out: C [m, m], how often two concepts fire on one token; D [m, m], the
same weighted by the row concept's activation; how often each fires. Both are sparse: the work is O(tokens · k²), the
memory O(pairs that ever met), 20 bytes each, and up to three times that while sums are merged. No array has m² cells.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from sae import SparseCodes
from sae.errors import InsightError

from ..npz import read_npz, write_npz

BUFFERED = 1 << 20
"""Active entries gathered before they are multiplied: small chunks would pay for the product's m rows each time."""
ARRAYS = ["offsets", "concepts", "counts", "weighted", "frequency", "tokens"]


class Cooccurrence:
    """Streaming co-occurrence of m concepts (specs/insight.md §1.4, with "active" meaning activation > 0)."""

    def __init__(self, n_concepts: int) -> None:
        if n_concepts < 1:
            raise InsightError(f"Cooccurrence: expected at least one concept, found {n_concepts}")
        self.n_concepts = n_concepts
        self.tokens = 0
        self.frequency: np.ndarray = np.zeros(n_concepts, dtype=np.int64)
        self._buffer: list[SparseCodes] = []
        self._sums: list[csr_array] = []  # C + iD, complex: one pattern, one product; each at least twice the next

    def update(self, codes: SparseCodes) -> None:
        """Count the tokens of `codes`; each token must be given once."""
        self._require(codes.n_concepts)
        codes = codes.to("cpu")
        self.tokens += codes.n
        self.frequency += torch.bincount(codes.concepts, minlength=self.n_concepts).numpy()
        self._buffer.append(codes)
        if sum(part.nnz for part in self._buffer) >= BUFFERED:
            self._multiply()

    def merge(self, other: Cooccurrence) -> None:
        """Add the counts of another pass over other tokens; `other` keeps its own."""
        self._require(other.n_concepts)
        total = other._total()
        self.tokens += other.tokens
        self.frequency = self.frequency + other.frequency
        self._add(total)

    @property
    def counts(self) -> csr_array:
        """C [m, m] int64, C[i, j] = Σ_p 1[a_i(p) > 0] 1[a_j(p) > 0]; its diagonal is `frequency`."""
        return self._total().real.astype(np.int64)

    @property
    def weighted(self) -> csr_array:
        """D [m, m] float64, D[i, j] = Σ_p a_i(p) 1[a_j(p) > 0]: row i is weighted by i's own activation."""
        return self._total().imag

    def save(self, path: Path | str) -> None:
        """Write an npz: one CSR pattern (`offsets`, `concepts`) with `counts` and `weighted`; `frequency`, `tokens`."""
        total = self._total()
        counts, weighted = total.data.real.astype(np.int64), total.data.imag
        arrays = [total.indptr, total.indices, counts, weighted, self.frequency, np.array(self.tokens)]
        write_npz(path, dict(zip(ARRAYS, arrays, strict=True)))

    @classmethod
    def load(cls, path: Path | str) -> Cooccurrence:
        """Read what `save` wrote."""
        remedy = "count the codes again (`insight relate`)"
        arrays = read_npz(path, ARRAYS, remedy)
        loaded = cls(len(arrays["frequency"]))
        loaded.tokens, loaded.frequency = int(arrays["tokens"]), arrays["frequency"]
        try:
            values = arrays["counts"] + 1j * arrays["weighted"]
            shape = (loaded.n_concepts, loaded.n_concepts)
            total = csr_array((values, arrays["concepts"], arrays["offsets"]), shape=shape)
            total.check_format()
        except ValueError as error:
            raise InsightError(f"{path}: expected a square CSR matrix, found another ({error}); {remedy}") from None
        loaded._add(total)
        return loaded

    def _multiply(self) -> None:
        codes = SparseCodes.cat(self._buffer)
        self._buffer = []
        strength = replace(codes, activations=codes.activations.double()).to_scipy()
        active = csr_array((np.ones(codes.nnz), strength.indices, strength.indptr), shape=strength.shape)
        both = csr_array((1 + 1j * strength.data, strength.indices, strength.indptr), strength.shape)
        # the product's rows come unsorted, its transpose is C + iD, and transposing sorts: sums of sorted rows are fast
        self._add((active.T.tocsr() @ both).T.tocsr())

    def _add(self, total: csr_array) -> None:
        """Sums grow like a binary counter, so that each entry is added O(log chunks) times."""
        self._sums.append(total)
        while len(self._sums) > 1 and self._sums[-2].nnz < 2 * self._sums[-1].nnz:
            self._sums.append(self._sums.pop() + self._sums.pop())

    def _total(self) -> csr_array:
        if self._buffer:
            self._multiply()
        while len(self._sums) > 1:
            self._sums.append(self._sums.pop() + self._sums.pop())
        return self._sums[0] if self._sums else csr_array((self.n_concepts, self.n_concepts), dtype=np.complex128)

    def _require(self, n_concepts: int) -> None:
        if n_concepts != self.n_concepts:
            raise InsightError(f"Cooccurrence: expected codes of {self.n_concepts} concepts, found {n_concepts}")
