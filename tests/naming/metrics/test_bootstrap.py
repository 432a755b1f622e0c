"""Bootstrap intervals."""

import math

import numpy as np
import pytest

from naming.metrics import bootstrap


@pytest.fixture
def values(generator) -> np.ndarray:
    return np.random.default_rng(generator.initial_seed()).normal(3, 2, size=500)


def test_the_interval_of_a_mean_is_near_the_normal_one(values):
    found = bootstrap.mean(values)
    deviation = values.std() / math.sqrt(500)
    assert found.value == pytest.approx(values.mean())
    # an end is a quantile of 1,000 draws: known to 0.09 deviations
    assert found.low == pytest.approx(values.mean() - 1.96 * deviation, abs=0.5 * deviation)
    assert found.high == pytest.approx(values.mean() + 1.96 * deviation, abs=0.5 * deviation)


def test_the_same_seed_gives_the_same_interval_and_another_another(values):
    assert bootstrap.mean(values) == bootstrap.mean(values)
    assert bootstrap.mean(values) != bootstrap.mean(values, seed=1)


def test_a_ratio_resamples_both_sides_together(values):
    above = np.abs(values)
    found = bootstrap.ratio(3 * above, above)
    assert (found.low, found.value, found.high) == pytest.approx((3, 3, 3))


def test_draws_are_the_plain_ones(values):
    found = bootstrap.ratio(values, values**2, resamples=200, seed=7)
    generator = np.random.default_rng(7)
    draws = []
    for _ in range(200):
        chosen = [values[i] for i in generator.integers(500, size=500)]
        draws.append(sum(chosen) / sum(v * v for v in chosen))
    draws.sort()
    assert found.low == pytest.approx(draws[5])  # 0.025 * 199 = 4.975
    assert found.high == pytest.approx(draws[194])


def test_nothing_to_measure_is_nan_and_division_by_nothing_infinite():
    assert all(map(math.isnan, vars(bootstrap.mean(np.zeros(0))).values()))
    assert all(map(math.isnan, vars(bootstrap.ratio(np.zeros(5), np.zeros(5))).values()))
    assert bootstrap.ratio(np.ones(5), np.zeros(5)).value == math.inf
