"""The tokens on which each concept is strongest, with everything else that fires there; streaming, bounded memory.

In: `SparseCodes` with the id of their first token, in any order of chunks. Out: per concept the `size` strongest tokens
and the mean code of those tokens (M_i). At most 2 · size · m tokens and one chunk are held.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from sae import SparseCodes
from sae.errors import InsightError

from ..npz import read_npz, write_npz

FEWEST_PENDING = 1 << 16
"""Tokens gathered before the strongest are sought again, while few are held."""
ARRAYS = ["tokens", "offsets", "concepts", "activations", "sizes"]


class Exemplars:
    """Streaming top tokens of m concepts. Of equal activations the lower token id comes first.

    What is held are whole tokens: those that are among the strongest of some concept. Every concept's strongest can be
    read off them again, so a chunk is added by putting its promising tokens beside them and dropping those that no
    concept needs any more.
    """

    def __init__(self, n_concepts: int, size: int = 30) -> None:
        if n_concepts < 1 or size < 1:
            raise InsightError(f"Exemplars: expected at least one concept and one token, found {n_concepts}, {size}")
        self.n_concepts, self.size = n_concepts, size
        self._tokens = torch.empty(0, dtype=torch.int64)  # ascending
        self._codes = SparseCodes.from_dense(torch.empty(0, n_concepts))
        self._floor = torch.zeros(n_concepts)  # activation of the size-th strongest so far; 0 while there are fewer
        self._pending: list[tuple[Tensor, SparseCodes]] = []

    def update(self, codes: SparseCodes, first_token: int) -> None:
        """Look at tokens `first_token` ... `first_token + codes.n - 1`; each token id must be given once."""
        self._require(codes.n_concepts, self.size)
        codes = codes.to("cpu")
        promising = codes.activations >= self._floor[codes.concepts.long()]
        rows = torch.unique_consecutive(codes.rows()[promising])
        self._pending.append((rows + first_token, _float(codes[rows])))
        if sum(len(tokens) for tokens, _ in self._pending) >= max(FEWEST_PENDING, len(self._tokens)):
            self._settle()

    def merge(self, other: Exemplars) -> None:
        """Take in the strongest tokens of a pass over other tokens; `other` keeps its own."""
        self._require(other.n_concepts, other.size)
        other._settle()
        self._pending.append((other._tokens, other._codes))
        self._settle()

    def top(self, concept: int) -> tuple[Tensor, Tensor]:
        """Token ids (int64) and activations (float32) of one concept, the strongest first; at most `size`."""
        offsets, rows, activations = self._ranked()
        part = slice(int(offsets[concept]), int(offsets[concept + 1]))
        return self._tokens[rows[part]], activations[part]

    def table(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of them as CSR: `offsets` int64 [m + 1]; token ids and activations, by concept, the strongest first."""
        offsets, rows, activations = self._ranked()
        return offsets, self._tokens[rows], activations

    def mean_codes(self) -> csr_array:
        """M [m, m] float32: row i is the mean code of concept i's strongest tokens, all zero if it never fired."""
        offsets, rows, _ = self._ranked()
        counts = offsets.diff().numpy()
        share = np.repeat(1.0 / np.maximum(counts, 1), counts)
        chosen = csr_array((share, rows.numpy(), offsets.numpy()), shape=(self.n_concepts, self._codes.n))
        mean = csr_array(chosen @ self._codes.to_scipy().astype(np.float64))
        mean.sort_indices()
        return mean.astype(np.float32)

    def save(self, path: Path | str) -> None:
        """Write an npz: `tokens` int64 [t] ascending and their codes as CSR (`offsets`, `concepts`, `activations`)."""
        self._settle()
        codes = self._codes
        arrays = [self._tokens, codes.offsets, codes.concepts, codes.activations]
        sizes = np.array([self.n_concepts, self.size])
        write_npz(path, dict(zip(ARRAYS, [*(array.numpy() for array in arrays), sizes], strict=True)))

    @classmethod
    def load(cls, path: Path | str) -> Exemplars:
        """Read what `save` wrote."""
        remedy = "gather them again (`insight relate`)"
        arrays = read_npz(path, ARRAYS, remedy)
        tokens, offsets, concepts, activations = (torch.from_numpy(arrays[name]) for name in ARRAYS[:4])
        try:
            n_concepts, size = arrays["sizes"].tolist()
            loaded = cls(n_concepts, size)
            rows = torch.repeat_interleave(torch.arange(len(tokens)), offsets.diff())
            codes = SparseCodes.from_entries(rows, concepts, activations.float(), len(tokens), n_concepts)
        except (InsightError, ValueError, TypeError, RuntimeError) as error:
            raise InsightError(f"{path}: expected tokens and their codes, found others ({error}); {remedy}") from None
        loaded._pending.append((tokens, codes))
        loaded._settle()
        return loaded

    def _ranked(self) -> tuple[Tensor, Tensor, Tensor]:
        """By concept, strongest first: offsets [m + 1], row among the tokens held, activation."""
        self._settle()
        return _strongest(self._codes, self._floor, self.size)

    def _settle(self) -> None:
        """Put the pending tokens beside those held, in order of id, and keep what some concept needs."""
        if not self._pending:
            return
        tokens = torch.cat([self._tokens, *(tokens for tokens, _ in self._pending)])
        codes = SparseCodes.cat([self._codes, *(codes for _, codes in self._pending)])
        self._pending = []
        order = tokens.argsort()
        tokens, codes = tokens[order], codes[order]
        if bool((tokens.diff() == 0).any()):
            raise InsightError("Exemplars: expected each token id once, found one given twice")
        offsets, rows, activations = _strongest(codes, self._floor, self.size)
        full = offsets.diff() == self.size
        self._floor[full] = activations[offsets[1:][full] - 1]
        kept = torch.unique(rows)
        self._tokens, self._codes = tokens[kept], codes[kept]

    def _require(self, n_concepts: int, size: int) -> None:
        if (n_concepts, size) != (self.n_concepts, self.size):
            expected = f"{self.n_concepts} concepts and {self.size} tokens each"
            raise InsightError(f"Exemplars: expected {expected}, found {n_concepts} and {size}")


def _strongest(codes: SparseCodes, floor: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per concept its `size` largest entries, of equal ones the first row: offsets [m + 1], rows, activations."""
    entry = (codes.activations >= floor[codes.concepts.long()]).nonzero().squeeze(1)
    concepts, activations, rows = codes.concepts[entry].long(), codes.activations[entry], codes.rows()[entry]
    order = activations.argsort(descending=True, stable=True)
    order = order[concepts[order].argsort(stable=True)]
    counts = torch.bincount(concepts, minlength=codes.n_concepts)
    start = counts.cumsum(0) - counts
    rank = torch.arange(len(order)) - start[concepts[order]]
    order = order[rank < size]
    offsets = torch.cat([counts.new_zeros(1), counts.clamp_max(size).cumsum(0)])
    return offsets, rows[order], activations[order]


def _float(codes: SparseCodes) -> SparseCodes:
    return SparseCodes(codes.offsets, codes.concepts, codes.activations.float(), codes.n_concepts)
