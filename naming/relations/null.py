"""How often a concept is met where concepts like another one are: the null that a relation has to beat.

In: each concept's level and frequency, and sparse counts hits[i, j] out of trials[i]. Out: for pairs (i, j) the rate
at which j is met by the peers of i: concepts of i's level, nearest to it in frequency. A parent that is everywhere is
met everywhere by the peers too, and coarse and frequent concepts are compared with their like.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

PEERS = 64
"""Enough that a rate is known to a few hundredths and a child's own siblings, who do stand on its parent, are few among
them; few enough that, with a thousand concepts in a level, peers are within some percent of each other in frequency."""


class MatchedNull:
    """The peers of every living concept: the `PEERS` of its level that are next to it in order of frequency.

    Half of them are rarer and half more frequent, as far as the level goes; ties in frequency go by id. A level with
    fewer concepts has fewer peers.
    """

    def __init__(self, levels: np.ndarray, frequency: np.ndarray, peers: int = PEERS) -> None:
        living = np.flatnonzero(frequency > 0)
        self._order = living[np.lexsort((living, frequency[living], levels[living]))]
        self._rank = np.full(len(frequency), -1)
        self._rank[self._order] = np.arange(len(living))
        _, first, size = np.unique(levels[self._order], return_index=True, return_counts=True)
        first, last = np.repeat(first, size), np.repeat(first + size, size)
        latest_start = np.maximum(first, last - peers - 1)
        self._start = np.clip(np.arange(len(living)) - peers // 2, first, latest_start)
        self._stop = np.minimum(self._start + peers + 1, last)

    def peers(self, concept: int) -> np.ndarray:
        """int64: the peers of a living concept, the rarest first."""
        rank = self._rank[concept]
        window = self._order[self._start[rank] : self._stop[rank]]
        return window[window != concept]

    def rates(self, hits: csr_array, trials: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """float64 [pairs]: for each pair (i, j), p0 = (Σ_k hits[k, j] + 1) / (Σ_k trials[k] + 2) over i's peers k ≠ j.

        `hits` [m, m] has no diagonal, `trials` is [m], and the concepts of `row` are alive. The added ones are
        Laplace's rule of succession: no rate is 0, and where the peers were seen seldom it is near a half, so that
        little evidence for the null is not taken for evidence against it. Time O((nonzeros + pairs) · log nonzeros).
        """
        counts = hits.tocoo()
        alive = self._rank[counts.row] >= 0
        n = max(len(self._order), 1)
        key = counts.col[alive].astype(np.int64) * n + self._rank[counts.row[alive]]
        order = key.argsort()
        key = key[order]  # by column, and within it in order of frequency: a window of peers is a range
        running = _running(counts.data[alive][order])

        rank, base = self._rank[row], column.astype(np.int64) * n
        start, stop = self._start[rank], self._stop[rank]
        met = running[np.searchsorted(key, base + stop)] - running[np.searchsorted(key, base + start)]
        own = np.searchsorted(key, base + rank)
        met -= running[np.searchsorted(key, base + rank + 1)] - running[own]

        tried = _running(trials[self._order])
        looked = tried[stop] - tried[start] - trials[row]
        other = self._rank[column]
        looked -= np.where((other >= start) & (other < stop) & (other != rank), trials[column], 0)
        return (met + 1.0) / (looked + 2.0)


def _running(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], values.cumsum()])
