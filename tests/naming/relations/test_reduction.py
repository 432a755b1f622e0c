"""Transitive reduction against networkx, and at a size where quadratic work would show."""

import time

import networkx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from naming.relations.reduction import direct_edges


@given(st.integers(1, 25), st.floats(0, 1), st.integers(0, 2**32))
def test_direct_edges_are_the_transitive_reduction(m, density, seed):
    rng = np.random.default_rng(seed)
    height = rng.permutation(m)
    child, parent = ((height[:, None] < height) & (rng.random((m, m)) < density)).nonzero()
    graph = networkx.DiGraph(zip(child.tolist(), parent.tolist(), strict=True))
    expected = set(networkx.transitive_reduction(graph).edges)
    direct = direct_edges(child, parent, height)
    assert set(zip(child[direct].tolist(), parent[direct].tolist(), strict=True)) == expected


def test_a_long_chain_with_shortcuts_takes_a_moment():
    m = 8192
    steps = [(i, i + 1) for i in range(m - 1)]
    shortcuts = [(i, j) for i in range(0, m - 2, 7) for j in (i + 2, m - 1)]
    child, parent = np.array(steps + [pair for pair in shortcuts if pair[1] - pair[0] > 1]).T
    started = time.monotonic()
    direct = direct_edges(child, parent, np.arange(m))
    assert direct.sum() == len(steps)
    assert time.monotonic() - started < 10
