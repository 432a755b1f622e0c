"""Binomial tails against exact fractions, and Benjamini and Hochberg's procedure against its definition."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naming.relations.significance import binomial_tail, q_values

p_values = st.lists(st.sampled_from([0.0, 1e-9, 1e-4, 0.001, 0.01, 0.02, 0.04, 0.5, 1.0]), max_size=12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 99))
def test_the_tail_is_the_sum_of_its_probabilities(hits, more, percent):
    trials, rate = hits + more, Fraction(percent, 100)
    exact = sum(comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(hits, trials + 1))
    found = binomial_tail(np.array([hits]), np.array([trials]), np.array([percent / 100]))
    assert found[0] == pytest.approx(float(exact), rel=1e-9)


def test_the_far_tail_keeps_its_digits():
    found = binomial_tail(np.array([100, 400]), np.array([100, 400]), np.array([0.01, 0.5]))
    np.testing.assert_allclose(np.log10(found), [-200, 400 * np.log10(0.5)], rtol=1e-12)


@given(p_values, st.integers(0, 100), st.sampled_from([0.001, 0.05, 0.3]))
def test_discoveries_at_a_rate_are_the_largest_set_of_small_p_values_under_its_line(values, others, q):
    tests = len(values) + others
    ordered = sorted(values)
    passing = [k for k in range(1, len(ordered) + 1) if ordered[k - 1] * tests <= k * q * (1 + 1e-12)]
    cut = ordered[max(passing) - 1] if passing else -1.0
    found = q_values(np.array(values), tests)
    assert [bool(value <= q * (1 + 1e-12)) for value in found] == [value <= cut for value in values]


@given(p_values)
def test_q_values_are_shares_in_the_order_of_p_values(values):
    found = q_values(np.array(values), len(values))
    assert ((found >= values) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(values, kind="stable")]) >= 0).all()
