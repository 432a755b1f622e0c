"""The least set of concepts that keeps a decision, against trying all sets."""

from itertools import combinations

import numpy as np
import pytest

from insight.heads import least_set as module
from insight.heads.least_set import least_set


def drawn(rng: np.random.Generator, concepts: int, others: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers, so that no lead is nearly 0, by which all concepts together win against every other class."""
    while True:
        lead, without = rng.integers(-9, 10, (concepts, others)), rng.integers(-9, 4, others)
        if (lead.sum(0) + without > 0).all():
            return lead.astype(float), without.astype(float)


def smallest(lead: np.ndarray, without: np.ndarray) -> int:
    """By trying all sets, the small ones first."""
    for size in range(len(lead) + 1):
        for chosen in combinations(range(len(lead)), size):
            if (lead[list(chosen)].sum(0) + without > 0).all():
                return size
    raise AssertionError("all concepts together win")


@pytest.mark.parametrize("others", [1, 2, 5])
def test_no_smaller_set_keeps_the_decision(others: int) -> None:
    rng = np.random.default_rng()
    for _ in range(15):
        lead, without = drawn(rng, 9, others)
        chosen, exact = least_set(lead, without)
        assert exact
        assert (lead[chosen].sum(0) + without > 0).all()
        assert len(chosen) == smallest(lead, without)


def test_without_proof_the_set_still_keeps_the_decision_and_needs_each_of_its_concepts(monkeypatch) -> None:
    monkeypatch.setattr(module, "_by_programme", lambda lead, needed: None)
    rng = np.random.default_rng()
    for _ in range(15):
        lead, without = drawn(rng, 12, 4)
        chosen, exact = least_set(lead, without)
        assert exact == (not chosen)  # that no concept is needed needs no proof
        assert (lead[chosen].sum(0) + without > 0).all()
        for concept in chosen:
            rest = [other for other in chosen if other != concept]
            assert not (lead[rest].sum(0) + without > 0).all()


def test_no_concept_is_needed_where_the_intercept_wins() -> None:
    assert least_set(np.array([[-1.0, 2.0]]), np.array([3.0, 0.5])) == ([], True)
    assert least_set(np.zeros((0, 2)), np.array([3.0, 0.5])) == ([], True)
