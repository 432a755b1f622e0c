"""Intervals over images drawn anew."""

import math

import numpy as np
import pytest

from insight.evaluation import interval
from insight.evaluation.bootstrap import drawn


def test_every_draw_has_as_many_images_and_of_each_stratum_as_many() -> None:
    strata = np.array([2, 0, 2, 2, 0, 5])
    weights = np.concatenate(list(drawn(6, 250, 1, strata)))
    assert weights.shape == (250, 6)
    for stratum, count in ((0, 2), (2, 3), (5, 1)):
        assert (weights[:, strata == stratum].sum(1) == count).all()
    plain = np.concatenate(list(drawn(6, 250, 1)))
    assert (plain.sum(1) == 6).all()
    assert (plain[:, strata == 0].sum(1) != 2).any()


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(lambda w: w @ values / len(values), 400, draws=4000)
    error = values.std() / math.sqrt(400)
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.2 * error)
    assert interval(lambda w: w @ values / len(values), 400, draws=4000) == (low, high)


def test_draws_without_a_figure_are_left_out() -> None:
    low, high = interval(lambda w: np.where(w[:, 0] > 0, 1.0, np.nan), 5)
    assert (low, high) == (1, 1)
    assert all(map(math.isnan, interval(lambda w: np.full(len(w), np.nan), 5)))
