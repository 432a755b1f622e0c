"""SparseCodes: which concepts are active in each token, and how strongly. The currency of the whole system.

In: entries from an encoder, a dense array or other codes. Out: CSR rows (one a token, entries by rising concept) that
slice, join, pool and convert without ever forming a [tokens, concepts] array; only `dense` forms one, for small things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import InsightError

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """Active concepts of n tokens: row r holds the entries `offsets[r]` to `offsets[r + 1]` of the two flat arrays."""

    offsets: Tensor
    """int64 [n + 1], from 0 to nnz, never falling."""
    concepts: Tensor
    """int32 [nnz], strictly rising within a row, each in 0 .. n_concepts - 1."""
    activations: Tensor
    """float [nnz], each > 0."""
    n_concepts: int

    def __post_init__(self) -> None:
        if self.offsets.dtype != torch.int64 or self.offsets.dim() != 1 or len(self.offsets) < 1:
            raise InsightError(f"SparseCodes: expected int64 offsets [n + 1], found {_kind(self.offsets)}")
        if self.concepts.dtype != torch.int32 or self.concepts.dim() != 1:
            raise InsightError(f"SparseCodes: expected int32 concepts [nnz], found {_kind(self.concepts)}")
        if not self.activations.is_floating_point() or self.activations.shape != self.concepts.shape:
            expected = f"float activations [{len(self.concepts)}]"
            raise InsightError(f"SparseCodes: expected {expected}, found {_kind(self.activations)}")

    @property
    def n(self) -> int:
        """Number of rows (tokens)."""
        return len(self.offsets) - 1

    @property
    def nnz(self) -> int:
        """Number of active (token, concept) pairs."""
        return len(self.concepts)

    @property
    def device(self) -> torch.device:
        return self.concepts.device

    def __len__(self) -> int:
        return self.n

    def counts(self) -> Tensor:
        """int64 [n]: active concepts in each row."""
        return self.offsets.diff()

    def rows(self) -> Tensor:
        """int64 [nnz]: the row of each entry."""
        every = torch.arange(self.n, device=self.device)
        return torch.repeat_interleave(every, self.counts(), output_size=self.nnz)

    def __getitem__(self, index: slice | Tensor) -> SparseCodes:
        """The rows of a slice (without step: views, no copy) or of an int64 index tensor (any order, also repeated)."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self.n)
            if step == 1:
                return self._row_range(start, max(start, stop))
            index = torch.tensor(range(self.n)[index], dtype=torch.int64, device=self.device)
        if not isinstance(index, Tensor) or index.dtype != torch.int64 or index.dim() != 1:
            raise TypeError("SparseCodes rows are taken by a slice or a one-dimensional int64 tensor")
        if len(index) and not (-self.n <= int(index.min()) and int(index.max()) < self.n):
            raise IndexError(f"row index out of range for {self.n} rows")
        index = torch.where(index < 0, index + self.n, index)
        offsets = _offsets(self.counts()[index])
        total = int(offsets[-1])
        shift = torch.repeat_interleave(self.offsets[index] - offsets[:-1], offsets.diff(), output_size=total)
        entry = shift + torch.arange(total, device=self.device)
        return SparseCodes(offsets, self.concepts[entry], self.activations[entry], self.n_concepts)

    def _row_range(self, start: int, stop: int) -> SparseCodes:
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - first
        return SparseCodes(offsets, self.concepts[first:last], self.activations[first:last], self.n_concepts)

    def prefix(self, size: int) -> SparseCodes:
        """The codes over the first `size` concepts only, as a Matryoshka level sees them."""
        if not 0 < size <= self.n_concepts:
            raise InsightError(f"SparseCodes.prefix: expected a size of 1 to {self.n_concepts}, found {size}")
        if size == self.n_concepts:
            return self
        keep = self.concepts < size
        kept = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])
        return SparseCodes(kept[self.offsets], self.concepts[keep], self.activations[keep], size)

    def max_by_group(self, group_of_row: Tensor, n_groups: int) -> SparseCodes:
        """Per group of rows and concept the largest activation: codes [n_groups, n_concepts].

        `group_of_row`: int64 [n], each in 0 .. n_groups - 1, in any order (the image or the segment of each patch).
        """
        return self._by_group(group_of_row, n_groups, "amax")

    def sum_by_group(self, group_of_row: Tensor, n_groups: int) -> SparseCodes:
        """The same with the sum of activations."""
        return self._by_group(group_of_row, n_groups, "sum")

    def _by_group(self, group_of_row: Tensor, n_groups: int, reduction: str) -> SparseCodes:
        if group_of_row.shape != (self.n,):
            raise InsightError(f"groups: expected a group for each of {self.n} rows, found {_kind(group_of_row)}")
        if self.n and not (int(group_of_row.min()) >= 0 and int(group_of_row.max()) < n_groups):
            raise InsightError(f"groups: expected groups of 0 to {n_groups - 1}, found others")
        key = group_of_row[self.rows()] * self.n_concepts + self.concepts
        cells, cell_of_entry = torch.unique(key, return_inverse=True)
        pooled = self.activations.new_zeros(len(cells)).scatter_reduce(0, cell_of_entry, self.activations, reduction)
        group = torch.div(cells, self.n_concepts, rounding_mode="floor")
        concepts = (cells - group * self.n_concepts).to(torch.int32)
        return SparseCodes(_offsets(torch.bincount(group, minlength=n_groups)), concepts, pooled, self.n_concepts)

    def to(self, device: torch.device | str) -> SparseCodes:
        """The same codes on another device."""
        offsets, concepts = self.offsets.to(device), self.concepts.to(device)
        return SparseCodes(offsets, concepts, self.activations.to(device), self.n_concepts)

    def dense(self) -> Tensor:
        """float [n, n_concepts]. For small things only: a million tokens of 8,192 concepts would be 33 GB."""
        dense = self.activations.new_zeros(self.n, self.n_concepts)
        dense[self.rows(), self.concepts.long()] = self.activations
        return dense

    def to_scipy(self) -> csr_array:
        """scipy.sparse.csr_array [n, n_concepts]; concepts and activations share memory with these codes (CPU)."""
        from scipy.sparse import csr_array

        offsets = self.offsets.to(_index_type(self.nnz)).cpu().numpy()
        arrays = (self.activations.cpu().numpy(), self.concepts.cpu().numpy(), offsets)
        return csr_array(arrays, shape=(self.n, self.n_concepts))

    def to_torch(self) -> Tensor:
        """torch sparse_csr tensor [n, n_concepts]; concepts and activations are shared unless nnz exceeds int32."""
        index = _index_type(self.nnz)
        offsets, concepts = self.offsets.to(index), self.concepts.to(index)
        shape = (self.n, self.n_concepts)
        return torch.sparse_csr_tensor(offsets, concepts, self.activations, shape, check_invariants=False)

    @staticmethod
    def from_entries(rows: Tensor, concepts: Tensor, activations: Tensor, n: int, n_concepts: int) -> SparseCodes:
        """Codes from entries in any order: integers `rows` and `concepts`, float `activations`, each [nnz].

        `InsightError` when an entry lies outside, an activation is not positive, or a pair is given twice.
        """
        if not rows.shape == concepts.shape == activations.shape or rows.dim() != 1:
            found = f"{tuple(rows.shape)}, {tuple(concepts.shape)}, {tuple(activations.shape)}"
            raise InsightError(f"SparseCodes.from_entries: expected three arrays of one length, found {found}")
        rows, concepts = rows.long(), concepts.long()
        if len(rows):
            inside = (rows >= 0) & (rows < n) & (concepts >= 0) & (concepts < n_concepts)
            if not bool(inside.all()):
                raise InsightError(f"SparseCodes.from_entries: an entry lies outside {n} rows x {n_concepts} concepts")
            if not bool((activations > 0).all()):
                raise InsightError("SparseCodes.from_entries: expected activations > 0, found others (or NaN)")
        key, order = torch.sort(rows * n_concepts + concepts)
        if bool((key.diff() == 0).any()):
            raise InsightError("SparseCodes.from_entries: a (row, concept) pair is given twice")
        counts = torch.bincount(rows, minlength=n)
        return SparseCodes(_offsets(counts), concepts[order].to(torch.int32), activations[order], n_concepts)

    @staticmethod
    def from_dense(dense: Tensor) -> SparseCodes:
        """Codes of a float array [n, n_concepts] that is nowhere negative; zeros are the inactive pairs."""
        if dense.dim() != 2 or not bool((dense >= 0).all()):
            found = f"{_kind(dense)} or a negative or NaN"
            raise InsightError(f"SparseCodes.from_dense: expected [n, concepts] >= 0, found {found}")
        rows, concepts = dense.nonzero(as_tuple=True)
        counts = torch.bincount(rows, minlength=len(dense))
        return SparseCodes(_offsets(counts), concepts.to(torch.int32), dense[rows, concepts], dense.shape[1])

    @staticmethod
    def cat(parts: Sequence[SparseCodes]) -> SparseCodes:
        """The rows of all parts, one after the other. All must have the same number of concepts."""
        if not parts or len({part.n_concepts for part in parts}) != 1:
            found = sorted({part.n_concepts for part in parts})
            raise InsightError(f"SparseCodes.cat: expected at least one part, all of one width; found widths {found}")
        counts = torch.cat([part.counts() for part in parts])
        concepts = torch.cat([part.concepts for part in parts])
        activations = torch.cat([part.activations for part in parts])
        return SparseCodes(_offsets(counts), concepts, activations, parts[0].n_concepts)


def _offsets(counts: Tensor) -> Tensor:
    """int64 [n + 1]: where each row begins, from the number of entries of each."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _index_type(nnz: int) -> torch.dtype:
    """int32 while it can count the entries: scipy and torch want one type for both index arrays of a CSR matrix."""
    return torch.int32 if nnz <= torch.iinfo(torch.int32).max else torch.int64


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
