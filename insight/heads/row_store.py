"""Sparse rows gathered piece by piece: in memory while they are few, in temporary files that are mapped when not."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from scipy.sparse import csr_array

_INT32 = np.iinfo(np.int32).max
_CHUNK = 1 << 22  # entries that are converted at a time
PART = 4096
"""Rows that are looked at together."""


def in_parts(rows: csr_array) -> Iterator[csr_array]:
    """The rows in order, some at a time."""
    for start in range(0, max(1, rows.shape[0]), PART):
        yield rows[start : start + PART]


def rows_at(rows: csr_array, places: np.ndarray, memory: int) -> csr_array:
    """Some of the rows. Of rows of more than `memory` bytes they lie in files, in float32 (`RowStore`)."""
    if 8 * rows.nnz <= memory:
        return rows[places]
    store = RowStore(rows.shape[1], memory)
    for start in range(0, len(places), PART):
        store.append(rows[places[start : start + PART]])
    return store.rows()


class RowStore:
    """Takes CSR pieces [rows, n_features] in order and gives them back as one.

    An entry takes 8 bytes (float32 value, int32 column; 12 beyond 2^31 entries), a row 8 more. Above `memory` bytes of
    entries all of them move into files that have no name and vanish with the last array that looks at them.
    """

    def __init__(self, n_features: int, memory: int) -> None:
        self.n_features = n_features
        self._memory = memory
        self._counts: list[np.ndarray] = []
        self._columns: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._held = 0
        self._entries = 0
        self._files: tuple[IO[bytes], IO[bytes]] | None = None

    def append(self, rows: csr_array) -> None:
        """Add rows at the end."""
        self._counts.append(np.diff(rows.indptr).astype(np.int64))
        self._columns.append(rows.indices.astype(np.int32))
        self._values.append(rows.data.astype(np.float32))
        self._entries += rows.nnz
        self._held += 8 * rows.nnz
        if self._files is not None or self._held > self._memory:
            self._spill()

    def rows(self) -> csr_array:
        """All rows; of many the entries are mapped from files and read when they are looked at."""
        offsets = np.append(0, np.concatenate([*self._counts, np.empty(0, np.int64)]).cumsum())
        values, columns = self._arrays()
        index = np.int32 if self._entries <= _INT32 else np.int64  # scipy wants one type for both
        shape = (len(offsets) - 1, self.n_features)
        return csr_array((values, columns, offsets.astype(index)), shape=shape)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        if self._files is None:
            none = np.empty(0)
            values, columns = np.concatenate([*self._values, none]), np.concatenate([*self._columns, none])
            return values.astype(np.float32), columns.astype(np.int32)
        columns = self._mapped(self._files[1], np.int32)
        if self._entries > _INT32:
            wide = TemporaryFile()  # noqa: SIM115  its last reader closes it
            for start in range(0, self._entries, _CHUNK):
                wide.write(columns[start : start + _CHUNK].astype(np.int64).tobytes())
            columns = self._mapped(wide, np.int64)
        return self._mapped(self._files[0], np.float32), columns

    def _spill(self) -> None:
        if self._files is None:
            self._files = TemporaryFile(), TemporaryFile()  # noqa: SIM115
        for file, pieces in zip(self._files, (self._values, self._columns)):
            for piece in pieces:
                file.write(piece.tobytes())
            pieces.clear()
        self._held = 0

    def _mapped(self, file: IO[bytes], dtype: type) -> np.ndarray:
        file.flush()
        return np.memmap(file, dtype=dtype, mode="r", shape=(self._entries,))
