"""Coverage curves and calibration of confidence."""

import math
from itertools import permutations

import numpy as np
import pytest

from naming import calibration_error, coverage_curve
from sae import InsightError


@pytest.fixture
def numbers(generator) -> np.random.Generator:
    return np.random.default_rng(generator.initial_seed())


def test_a_curve_worked_out_by_hand():
    found = coverage_curve(np.array([0.6, 0.9, 0.7, 0.8]), np.array([False, True, False, True]))
    assert found.accuracy == pytest.approx([1, 1, 2 / 3, 1 / 2])
    assert found.area.value == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert (found.half.value, found.all.value, found.gain.value) == (1, 0.5, 2)


def test_the_middle_one_of_an_odd_number_is_of_the_surer_half():
    found = coverage_curve(np.array([0.9, 0.5, 0.1]), np.array([True, False, False]))
    assert found.half.value == 0.5


def test_ties_are_the_mean_over_all_orders(numbers):
    confidence = numbers.integers(3, size=6) / 2
    right = numbers.random(6) < 0.5
    curves = []
    for order in permutations(range(6)):
        ranked = sorted(order, key=lambda i: -confidence[i])
        curves.append([sum(right[ranked[: k + 1]]) / (k + 1) for k in range(6)])
    assert coverage_curve(confidence, right).accuracy == pytest.approx(np.mean(curves, axis=0))


def test_concepts_without_a_name_come_last():
    found = coverage_curve(np.array([-np.inf, 0.2, -np.inf, 0.1]), np.array([False, True, False, True]))
    assert found.accuracy == pytest.approx([1, 1, 2 / 3, 1 / 2])


def test_one_confidence_for_all_gains_nothing(numbers):
    right = numbers.random(50) < 0.4
    right[0] = True
    found = coverage_curve(np.full(50, 0.3), right)
    assert found.accuracy == pytest.approx(np.full(50, right.mean()))
    assert (found.gain.low, found.gain.value, found.gain.high) == pytest.approx((1, 1, 1))


def test_confidence_that_tells_right_from_wrong_gains_and_the_interval_says_so(numbers):
    right = np.arange(2000) < 800
    confidence = numbers.random(2000) + 0.3 * right  # 0.544 of the surer half are right: 1.36 times 0.4
    found = coverage_curve(confidence, right)
    assert 1.1 < found.gain.low < found.gain.value < found.gain.high < 1.7
    assert found.all.value == 0.4
    assert found.all.low == pytest.approx(0.4 - 1.96 * math.sqrt(0.24 / 2000), abs=0.006)
    assert found.area.low < found.area.value < found.area.high
    assert vars(found.gain) == vars(coverage_curve(confidence, right).gain)


def test_no_right_name_and_no_name_at_all_are_nan():
    wrong = coverage_curve(np.array([0.1, 0.2]), np.array([False, False]))
    assert wrong.all.value == 0
    assert math.isnan(wrong.gain.value)
    nothing = coverage_curve(np.zeros(0), np.zeros(0, dtype=bool))
    assert len(nothing.accuracy) == 0
    assert math.isnan(nothing.area.value)
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))


def test_calibration_error_equals_the_plain_form(numbers):
    confidence, right = numbers.random(200), numbers.random(200) < 0.5
    confidence[:2] = 0, 1
    expected = 0.0
    for part in range(5):
        low, high = part / 5, (part + 1) / 5
        inside = [i for i, c in enumerate(confidence) if low <= c < high or (part == 4 and c == 1)]
        if inside:
            gap = sum(confidence[i] for i in inside) / len(inside) - sum(right[i] for i in inside) / len(inside)
            expected += len(inside) / 200 * abs(gap)
    assert calibration_error(confidence, right, bins=5) == pytest.approx(expected)


def test_calibration_by_hand():
    assert calibration_error(np.array([1.0, 1.0, 0.0]), np.array([True, True, False])) == 0
    assert calibration_error(np.array([0.95, 0.95]), np.array([True, False])) == pytest.approx(0.45)


def test_what_is_no_confidence_is_refused():
    with pytest.raises(InsightError, match="NaN"):
        coverage_curve(np.array([0.1, np.nan]), np.array([True, True]))
    with pytest.raises(InsightError, match="verdict for each"):
        coverage_curve(np.array([0.1, 0.2]), np.array([True]))
    with pytest.raises(InsightError, match=r"0 to 1, found 0\.2 to 1\.5"):
        calibration_error(np.array([0.2, 1.5]), np.array([True, True]))
