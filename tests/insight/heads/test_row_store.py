"""Rows gathered piece by piece: the same in memory and in files."""

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array, vstack

from insight.heads.row_store import PART, RowStore, in_parts, rows_at


@pytest.mark.parametrize("memory", [0, 300, 1 << 20])
def test_rows_come_back_in_order_wherever_they_are_kept(memory: int) -> None:
    rng = np.random.default_rng()
    pieces = [csr_array(random_array((n, 30), density=0.3, rng=rng, dtype=np.float32)) for n in (4, 0, 1, 9)]
    store = RowStore(30, memory)
    for piece in pieces:
        store.append(piece)
    rows = store.rows()
    assert (rows != vstack(pieces)).nnz == 0
    assert rows.indices.dtype == np.int32


def test_rows_beyond_memory_lie_in_files() -> None:
    store = RowStore(5, 0)
    store.append(csr_array(np.eye(5, dtype=np.float32)))
    assert _mapped(store.rows().data)
    kept = RowStore(5, 1 << 20)
    kept.append(csr_array(np.eye(5, dtype=np.float32)))
    assert not _mapped(kept.rows().data)


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_some_of_the_rows_lie_where_all_do(memory: int) -> None:
    rng = np.random.default_rng()
    rows = csr_array(random_array((2 * PART + 9, 4), density=0.3, rng=rng, dtype=np.float32))
    places = np.sort(rng.choice(rows.shape[0], PART + 7, replace=False))
    found = rows_at(rows, places, memory)
    assert (found != rows[places]).nnz == 0
    assert _mapped(found.data) == (memory == 0)


def test_parts_of_rows_are_all_of_them() -> None:
    rows = csr_array(random_array((2 * PART + 9, 4), density=0.3, rng=np.random.default_rng()))
    parts = [*in_parts(rows)]
    assert max(part.shape[0] for part in parts) == PART
    assert (vstack(parts) != rows).nnz == 0
    assert [part.shape for part in in_parts(csr_array((0, 4)))] == [(0, 4)]


def test_no_rows_are_rows_too() -> None:
    assert RowStore(7, 10).rows().shape == (0, 7)
    store = RowStore(7, 0)
    store.append(csr_array((3, 7), dtype=np.float32))
    assert store.rows().shape == (3, 7)


def _mapped(array: np.ndarray | None) -> bool:
    import mmap

    while array is not None:
        if isinstance(array, np.memmap | mmap.mmap):
            return True
        array = getattr(array, "base", None)
    return False
