"""Which concepts fire on the same tokens: sparse counts over streamed codes, merged across processes.

In: `SparseCodes`, chunk by chunk in any order. Out: C [m, m], how often two concepts fire on one token; D [m, m], the
same weighted by the row concept's activation; how often each fires. Both are sparse: the work is O(tokens · k²), the
memory O(pairs that ever met), 20 bytes each, and up to three times that while sums are merged. No array has m² cells.

With `most_partners` = c the memory is bounded whatever comes: m · c pairs are held, for a while twice as many, 28 bytes
each. At m = 65,536 and c = 512 that is 34 M pairs or 0.9 GB; with chunks and sums that are being merged 5 GB at most
(measured on concepts drawn evenly, the worst case), for 10^9 tokens as for any number. Exact counts could come to
m² = 4.3 · 10^9 pairs, 86 GB.
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
from .pairs import PairSums

BUFFERED = 1 << 20
"""Active entries gathered before they are multiplied: small chunks would pay for the product's m rows each time."""


class Cooccurrence:
    """Streaming co-occurrence of m concepts ("active" meaning activation > 0).

    `most_partners`: how many partners each row keeps beside its diagonal; None counts all. Then a count lacks at most
    `missed`[i] <= (counts of row i off the diagonal) / (c + 1) (proof in `PairSums`), and a weighted count at most that
    times the largest activation of i. Pairs that were never dropped have their exact numbers.
    """

    def __init__(self, n_concepts: int, *, most_partners: int | None = None) -> None:
        self.n_concepts = n_concepts
        self._pairs = PairSums(n_concepts, 1, most_partners)  # C + iD, complex: one pattern, one product
        self.tokens = 0
        self.frequency: np.ndarray = np.zeros(n_concepts, dtype=np.int64)
        self._buffer: list[SparseCodes] = []

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
        other._multiply()
        self._pairs.merge(other._pairs)
        self.tokens += other.tokens
        self.frequency = self.frequency + other.frequency

    @property
    def counts(self) -> csr_array:
        """C [m, m] int64, C[i, j] = Σ_p 1[a_i(p) > 0] 1[a_j(p) > 0]; its diagonal is `frequency`."""
        return self._total().real.astype(np.int64)

    @property
    def weighted(self) -> csr_array:
        """D [m, m] float64, D[i, j] = Σ_p a_i(p) 1[a_j(p) > 0]: row i is weighted by i's own activation."""
        return self._total().imag

    @property
    def most_partners(self) -> int | None:
        """Partners kept of each concept; None: all."""
        return self._pairs.most_partners

    @property
    def missed(self) -> np.ndarray:
        """float64 [m]: at most so much is missing from any count of row i; 0 where all are exact."""
        self._total()
        return self._pairs.missed

    def save(self, path: Path | str) -> None:
        """Write an npz: `frequency`, `tokens` and the state of the sums (`plane0` is C + iD)."""
        self._multiply()
        write_npz(path, {"frequency": self.frequency, "tokens": np.array(self.tokens), **self._pairs.arrays()})

    @classmethod
    def load(cls, path: Path | str) -> Cooccurrence:
        """Read what `save` wrote."""
        remedy = "count the codes again (`insight relate`)"
        arrays = read_npz(path, ["frequency", "tokens", *PairSums.names()], remedy)
        try:
            loaded = cls(len(arrays["frequency"]))
            loaded._pairs = PairSums.restore(arrays, "", loaded.n_concepts, 1)
        except (InsightError, ValueError, TypeError) as error:
            raise InsightError(f"{path}: expected a square CSR matrix, found another ({error}); {remedy}") from None
        loaded.tokens, loaded.frequency = int(arrays["tokens"]), arrays["frequency"]
        return loaded

    def _multiply(self) -> None:
        if not self._buffer:
            return
        codes = SparseCodes.cat(self._buffer)
        self._buffer = []
        strength = replace(codes, activations=codes.activations.double()).to_scipy()
        active = csr_array((np.ones(codes.nnz), strength.indices, strength.indptr), shape=strength.shape)
        both = csr_array((1 + 1j * strength.data, strength.indices, strength.indptr), strength.shape)
        # the product's rows come unsorted, its transpose is C + iD, and transposing sorts: sums of sorted rows are fast
        self._pairs.add(((active.T.tocsr() @ both).T.tocsr(),))

    def _total(self) -> csr_array:
        self._multiply()
        return self._pairs.total()[0]

    def _require(self, n_concepts: int) -> None:
        if n_concepts != self.n_concepts:
            raise InsightError(f"Cooccurrence: expected codes of {self.n_concepts} concepts, found {n_concepts}")
