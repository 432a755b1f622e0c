"""Means over pairs with intervals over photos."""

import numpy as np
import pytest

from insight.evaluation.over_images import mean_over_images
from sae import InsightError


def test_the_mean_leaves_out_what_is_not_measured() -> None:
    got = mean_over_images(np.array([1, np.nan, 3, 8.0]), np.array([5, 5, 5, 9]))
    assert got.value == 4
    assert got.low == 2
    assert got.high == 8
    assert np.isnan(mean_over_images(np.array([np.nan]))).all()


def test_pairs_of_a_photo_are_drawn_together() -> None:
    """Ten copies of each photo's value say no more than one."""
    values = np.random.default_rng(0).normal(size=60)
    alone, copied = mean_over_images(values), mean_over_images(values.repeat(10), np.arange(60).repeat(10))
    assert copied == pytest.approx(alone)
    flattered = mean_over_images(values.repeat(10))
    assert flattered.high - flattered.low < 0.5 * (alone.high - alone.low)
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * values.std() / 60**0.5, rel=0.1)


def test_shapes_that_do_not_fit_are_said() -> None:
    with pytest.raises(InsightError, match=r"found \[2, 2\] and \[2\]"):
        mean_over_images(np.zeros((2, 2)))
