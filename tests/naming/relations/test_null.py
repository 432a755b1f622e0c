"""The matched null against plain loops."""

import numpy as np
from scipy.sparse import csr_array

from naming.relations.null import MatchedNull


def plain_peers(concept: int, levels: np.ndarray, frequency: np.ndarray, size: int) -> list[int]:
    """The `size` concepts of its level next to it in order of frequency, half of them before it where there are."""
    level = [c for c in range(len(levels)) if levels[c] == levels[concept] and frequency[c] > 0]
    level.sort(key=lambda c: (frequency[c], c))
    place = level.index(concept)
    before, behind = level[:place], level[place + 1 :]
    n_before = min(len(before), max(size // 2, size - len(behind)))
    return before[len(before) - n_before :] + behind[: size - n_before]


def random_counts(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Levels, frequencies (some dead, some equal), hits [m, m] and trials [m]; hits[i, j] <= trials[i]."""
    m = int(rng.integers(2, 40))
    frequency = rng.integers(0, 30, m)
    trials = np.where(frequency > 0, rng.integers(1, 20, m), 0)
    hits = np.minimum(rng.integers(0, 20, (m, m)) * (rng.random((m, m)) < 0.5), trials[:, None])
    np.fill_diagonal(hits, 0)
    return rng.integers(0, 3, m), frequency, hits, trials


def test_peers_are_of_one_level_and_next_in_frequency(generator):
    rng = np.random.default_rng(int(generator.initial_seed()))
    for _ in range(30):
        levels, frequency, _, _ = random_counts(rng)
        null = MatchedNull(levels, frequency, peers=6)
        for concept in np.flatnonzero(frequency > 0).tolist():
            assert null.peers(concept).tolist() == plain_peers(concept, levels, frequency, 6)


def test_rates_are_those_of_the_peers_without_the_pair_itself(generator):
    rng = np.random.default_rng(int(generator.initial_seed()))
    for _ in range(30):
        levels, frequency, hits, trials = random_counts(rng)
        m = len(levels)
        pairs = [(i, j) for i in range(m) for j in range(m) if i != j and frequency[i] > 0]
        if not pairs:
            continue
        row, column = np.array(pairs).T
        found = MatchedNull(levels, frequency, peers=6).rates(csr_array(hits), trials, row, column)
        for (i, j), rate in zip(pairs, found, strict=True):
            peers = [k for k in plain_peers(i, levels, frequency, 6) if k != j]
            expected = (sum(int(hits[k, j]) for k in peers) + 1) / (sum(int(trials[k]) for k in peers) + 2)
            np.testing.assert_allclose(rate, expected, rtol=1e-12)


def test_without_peers_nothing_is_known_and_the_rate_is_a_half():
    null = MatchedNull(np.array([0, 1]), np.array([5, 9]))
    assert null.peers(0).tolist() == []
    rates = null.rates(csr_array(np.array([[0, 5], [3, 0]])), np.array([5, 9]), np.array([0, 1]), np.array([1, 0]))
    assert rates.tolist() == [0.5, 0.5]


def test_no_pairs_and_no_living_concepts_are_no_error():
    none = np.zeros(0, np.int64)
    for frequency in (np.array([0, 0]), np.array([3, 2])):
        null = MatchedNull(np.zeros(2, np.int64), frequency)
        assert null.rates(csr_array((2, 2), dtype=np.int64), frequency, none, none).tolist() == []
