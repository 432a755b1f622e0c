"""How many concepts a decision needs."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from insight.evaluation import concepts_to_reach
from sae import InsightError


def test_the_least_number_of_the_largest_positive_contributions() -> None:
    rows = np.array([[5, 3, 2, -4], [0.9, 0.1, 0, 0], [1, 1, 1, 1], [-1, -2, 0, 0], [0, 0, 0, 0], [0, 8.9, 1.1, -50]])
    assert concepts_to_reach(rows).tolist() == [3, 1, 4, 0, 0, 2]
    assert concepts_to_reach(rows, 0.5).tolist() == [1, 1, 2, 0, 0, 1]
    assert concepts_to_reach(rows, 1.0).tolist() == [3, 2, 4, 0, 0, 2]
    assert concepts_to_reach(np.zeros((0, 3))).tolist() == []


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_sparse_rows_equal_a_search_row_by_row(share: float) -> None:
    random = np.random.default_rng(4)
    dense = random.normal(size=(200, 50)).astype(np.float32) * (random.random((200, 50)) < random.random((200, 1)))
    expected = []
    for row in dense.astype(np.float64):
        positive = np.sort(row[row > 0])[::-1]
        reached = np.flatnonzero(positive.cumsum() >= share * positive.sum())
        expected.append(reached[0] + 1 if len(reached) else 0)
    assert concepts_to_reach(csr_array(dense), share).tolist() == expected


def test_what_cannot_be_counted_is_said() -> None:
    with pytest.raises(InsightError, match="share"):
        concepts_to_reach(np.ones((1, 2)), 0)
    with pytest.raises(InsightError, match="finite"):
        concepts_to_reach(np.array([[1, np.nan]]))
