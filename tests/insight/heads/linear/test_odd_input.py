"""Input that is degenerate has a defined result; input that is wrong is refused."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from insight.heads.linear import alpha_max, fit_linear, fit_path
from sae.errors import InsightError
from tests.insight.heads.linear.problems import made_up

EXACT = {"alpha": 0.02, "l1_ratio": 0.9, "tol": 1e-7}


@pytest.mark.parametrize("scale", ["std", "max", "sqrt", None])
def test_features_that_say_nothing_get_no_weight(scale: str | None) -> None:
    x, y = made_up(3, seed=30)
    more = csr_array(np.hstack([x.toarray(), np.zeros((len(y), 2)), np.full((len(y), 1), 0.1)]))
    fit = fit_linear(more, y, 3, scale=scale, **EXACT)
    assert not fit.coef[:, -3:].any()
    np.testing.assert_allclose(fit.coef[:, :-3], fit_linear(x, y, 3, scale=scale, **EXACT).coef, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("stronger", [1, 100])
def test_a_penalty_that_leaves_no_weight_leaves_none_without_an_intercept_too(n_classes: int, stronger: float) -> None:
    x, y = made_up(n_classes, seed=37)
    strongest = alpha_max(x, y, n_classes, l1_ratio=0.9, fit_intercept=False)
    fit = fit_linear(x, y, n_classes, alpha=stronger * strongest, l1_ratio=0.9, fit_intercept=False)
    assert fit.converged
    assert not fit.coef.any()
    assert not fit.intercept.any()


def test_explicit_zeros_and_entries_given_twice_change_nothing() -> None:
    x, y = made_up(3, seed=31)
    twice = csr_array((np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), 2 * x.indptr), shape=x.shape)
    assert twice.nnz == 2 * x.nnz
    zeros = csr_array((np.r_[x.data, 0.0], np.r_[x.indices, 0], np.r_[x.indptr[:-1], x.nnz + 1]), shape=x.shape)
    expected = fit_linear(x, y, 3, **EXACT).coef
    for rows in (twice, zeros):
        entries_before = rows.nnz
        np.testing.assert_allclose(fit_linear(rows, y, 3, **EXACT).coef, expected, atol=1e-6)
        assert rows.nnz == entries_before  # the caller's rows are left alone


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_classes_that_are_apart_end_at_a_tiny_penalty(n_classes: int, l1_ratio: float) -> None:
    y = np.arange(80) % n_classes
    x = csr_array(np.eye(n_classes)[y] * np.random.default_rng(32).uniform(1, 2, (80, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = fit_linear(x, y, n_classes, alpha=1e-7, l1_ratio=l1_ratio)
    assert np.isfinite(fit.coef).all()
    assert (fit.probabilities(x).argmax(1) == y).all()
    assert fit.objective < 1e-3


def test_one_feature_is_enough() -> None:
    y = np.arange(60) % 2
    x = csr_array((y + np.random.default_rng(33).normal(0, 1, 60))[:, None])
    fit = fit_linear(x, y, 2, alpha=1e-3)
    assert fit.converged
    assert fit.coef.shape == (1, 1)
    assert fit.coef[0, 0] > 0


def test_single_precision_rows_give_the_same_fit() -> None:
    x, y = made_up(3, seed=34)
    single = csr_array(x, dtype=np.float32)
    np.testing.assert_allclose(fit_linear(single, y, 3, **EXACT).coef, fit_linear(x, y, 3, **EXACT).coef, atol=1e-4)


def test_a_class_without_rows_needs_a_model_without_intercept() -> None:
    x, y = made_up(3, seed=35)
    with pytest.raises(InsightError, match="class 3 has no rows"):
        fit_linear(x, y, 4, alpha=0.01)
    assert fit_linear(x, y, 4, alpha=0.01, fit_intercept=False).converged


def test_a_fit_that_did_not_converge_says_so() -> None:
    x, y = made_up(4, seed=36)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        fit = fit_linear(x, y, 4, alpha=1e-4, max_iter=2)
    assert not fit.converged
    assert fit.violation > 1e-4
    with pytest.warns(ConvergenceWarning, match="of 40 fits"):
        fits = fit_path(x, y, 4, max_iter=2)
    assert not all(fit.converged for fit in fits)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"l1_ratio": 1.5}, "l1_ratio"),
        ({"tol": 0.0}, "tol"),
        ({"max_iter": 0}, "max_iter"),
        ({"scale": "range"}, "scale"),
        ({"n_classes": 1}, "two classes"),
        ({"n_classes": 2}, "class numbers from 0 to 1"),
        ({"y": np.zeros(240, np.int64)}, "found one"),
        ({"y": np.zeros(3, np.int64)}, "240 class numbers"),
        ({"y": np.full(240, 0.5)}, "class numbers"),
        ({"y": np.full((240, 3), 0.5)}, "sum to 1"),
        ({"y": np.full((240, 2), 0.5)}, "shape"),
        ({"y": np.full((240, 3), np.nan)}, "sum to 1"),
        ({"sample_weight": np.ones(3)}, "sample_weight"),
        ({"sample_weight": -np.ones(240)}, "sample_weight"),
        ({"sample_weight": np.zeros(240)}, "sample_weight"),
        ({"offset": np.zeros((240, 2))}, "offset"),
        ({"offset": np.full((240, 3), np.inf)}, "offset"),
        ({"x": csr_array(np.full((240, 4), np.nan))}, "NaN"),
        ({"x": csr_array((0, 4))}, "at least one row"),
        ({"x": np.ones((240, 4))}, "csr_array"),
    ],
)
def test_wrong_input_is_refused(changed: dict[str, object], message: str) -> None:
    x, y = made_up(3, seed=37)
    arguments = {"x": x, "y": y, "n_classes": 3, "alpha": 0.01, **changed}
    with pytest.raises(InsightError, match=message):
        fit_linear(**arguments)


def test_rows_of_other_width_are_refused() -> None:
    x, y = made_up(3, seed=38)
    fit = fit_linear(x, y, 3, alpha=0.01)
    with pytest.raises(InsightError, match="30 features"):
        fit.decision(x[:, :5])
    with pytest.raises(InsightError, match="start"):
        fit_linear(x[:, :5], y, 3, alpha=0.01, start=fit)
    with pytest.raises(InsightError, match="at least one penalty"):
        fit_path(x, y, 3, alphas=[])


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("scale", ["std", "sqrt", None])
def test_features_far_from_zero_are_no_hindrance(n_classes: int, scale: str | None) -> None:
    rng = np.random.default_rng(39)
    y = np.arange(90) % n_classes
    x = csr_array(100 + rng.normal(0, 1, (90, 3)) + np.eye(n_classes)[y][:, [0, 1, 1]])
    fit = fit_linear(x, y, n_classes, alpha=0.01, scale=scale)
    assert fit.converged
    assert fit.n_nonzero.sum() > 0
