"""A fit is the optimum of the objective as it is written down: by its conditions, and by scikit-learn."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from insight.heads.linear import LinearFit, alpha_max, feature_scale, fit_linear
from tests.insight.heads.linear.problems import Dense, made_up

TOL = 1e-4


def dense_of(x: csr_array, y: np.ndarray, n_classes: int, fit: LinearFit, **more: object) -> Dense:
    return Dense(x.toarray(), y, n_classes, fit.alpha, fit.l1_ratio, **more)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_conditions_of_optimality_hold(n_classes: int, l1_ratio: float, fit_intercept: bool) -> None:
    x, y = made_up(n_classes, seed=n_classes)
    fit = fit_linear(x, y, n_classes, alpha=0.01, l1_ratio=l1_ratio, fit_intercept=fit_intercept, scale=None, tol=TOL)
    dense = dense_of(x, y, n_classes, fit)
    assert fit.converged
    assert fit.coef.shape == (1 if n_classes == 2 else n_classes, x.shape[1])
    assert fit.violation == pytest.approx(
        dense.violation(fit.coef, fit.intercept, free_intercept=fit_intercept), abs=1e-9
    )
    assert fit.violation <= TOL
    assert fit.objective == pytest.approx(dense.objective(fit.coef, fit.intercept), rel=1e-12)
    if not fit_intercept:
        assert not fit.intercept.any()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_weights_offsets_and_soft_targets_count(n_classes: int) -> None:
    x, y = made_up(n_classes, seed=1)
    rng = np.random.default_rng(2)
    weight = rng.uniform(0, 3, len(y))
    offset = rng.normal(0, 1, (len(y), n_classes))
    soft = rng.dirichlet(np.ones(n_classes), len(y)) * 0.3 + 0.7 * np.eye(n_classes)[y]
    for targets in (y, soft):
        fit = fit_linear(x, targets, n_classes, alpha=0.01, sample_weight=weight, offset=offset, scale=None, tol=TOL)
        dense = dense_of(x, targets, n_classes, fit, weight=weight, offset=offset)
        assert dense.violation(fit.coef, fit.intercept) <= 1.01 * TOL
        assert fit.objective == pytest.approx(dense.objective(fit.coef, fit.intercept), rel=1e-12)
        logits = fit.decision(x, offset)
        expected = dense.logits(fit.coef, fit.intercept)
        expected = expected[:, 1:] - expected[:, :1] if n_classes == 2 else expected
        np.testing.assert_allclose(logits, expected, atol=1e-12)


@pytest.mark.parametrize("scale", ["max", "std", "sqrt"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_are_in_raw_units_whatever_features_are_divided_by(scale: str, n_classes: int) -> None:
    x, y = made_up(n_classes, seed=3)
    deviation = x.toarray().std(0)
    divisor = {"max": np.abs(x.toarray()).max(0), "std": deviation, "sqrt": np.sqrt(deviation * deviation.max())}[scale]
    np.testing.assert_allclose(feature_scale(x, np.ones(len(y)), scale), divisor, rtol=1e-12)
    fit = fit_linear(x, y, n_classes, alpha=0.02, scale=scale, tol=TOL)
    assert dense_of(x, y, n_classes, fit, divisor=divisor).violation(fit.coef, fit.intercept) <= 1.01 * TOL
    by_hand = fit_linear(csr_array(x / divisor), y, n_classes, alpha=0.02, scale=None, tol=TOL)
    assert fit.objective == pytest.approx(by_hand.objective, rel=1e-7)


@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_two_classes_are_as_scikit_learn_has_them(l1_ratio: float) -> None:
    x, y = made_up(2, seed=4)
    z = StandardScaler(with_mean=False).fit_transform(x.toarray())
    other = LogisticRegression(solver="saga", l1_ratio=l1_ratio, C=1 / (0.02 * len(y)), tol=1e-9, max_iter=5000)
    other.fit(z, y)
    fit = fit_linear(x, y, 2, alpha=0.02, l1_ratio=l1_ratio, tol=1e-7)
    scaled = fit.coef * feature_scale(x, np.ones(len(y)), "std")
    np.testing.assert_allclose(scaled, other.coef_, atol=1e-5)
    np.testing.assert_allclose(fit.intercept, other.intercept_, atol=1e-4)


def test_without_intercept_two_classes_are_as_liblinear_has_them() -> None:
    x, y = made_up(2, seed=5)
    rows = x.toarray()
    other = LogisticRegression(
        solver="liblinear", l1_ratio=1.0, C=1 / (0.02 * len(y)), tol=1e-9, max_iter=5000, fit_intercept=False
    ).fit(rows, y)
    fit = fit_linear(x, y, 2, alpha=0.02, l1_ratio=1.0, fit_intercept=False, scale=None, tol=1e-7)
    np.testing.assert_allclose(fit.coef, other.coef_, atol=1e-5)


def test_many_classes_are_as_scikit_learn_has_them() -> None:
    x, y = made_up(4, seed=6)
    rows = x.toarray()
    ridge = LogisticRegression(solver="lbfgs", C=1 / (0.02 * len(y)), tol=1e-9, max_iter=5000).fit(rows, y)
    fit = fit_linear(x, y, 4, alpha=0.02, l1_ratio=0.0, scale=None, tol=1e-7)
    np.testing.assert_allclose(fit.coef, ridge.coef_, atol=1e-5)
    np.testing.assert_allclose(fit.intercept, ridge.intercept_, atol=1e-4)
    net = LogisticRegression(solver="saga", l1_ratio=0.5, C=1 / (0.02 * len(y)), tol=1e-9, max_iter=5000)
    net.fit(rows, y)
    fit = fit_linear(x, y, 4, alpha=0.02, l1_ratio=0.5, scale=None, tol=1e-7)
    np.testing.assert_allclose(fit.coef, net.coef_, atol=1e-5)
    np.testing.assert_allclose(fit.probabilities(x), net.predict_proba(rows), atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_weight_of_two_is_the_row_twice(n_classes: int) -> None:
    x, y = made_up(n_classes, n=120, seed=7)
    times = np.random.default_rng(8).integers(0, 3, len(y))
    times[:n_classes] = 1
    rows = np.repeat(np.arange(len(y)), times)
    settings = {"alpha": 0.02, "l1_ratio": 0.8, "tol": 1e-7}
    weighted = fit_linear(x, y, n_classes, sample_weight=times.astype(float), **settings)
    repeated = fit_linear(x[rows], y[rows], n_classes, **settings)
    np.testing.assert_allclose(weighted.coef, repeated.coef, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_from_alpha_max_on_all_weights_are_zero(n_classes: int) -> None:
    x, y = made_up(n_classes, seed=9)
    strongest = alpha_max(x, y, n_classes)
    share = np.bincount(y) / len(y)
    above = fit_linear(x, y, n_classes, alpha=strongest)
    assert above.n_nonzero.sum() == 0
    np.testing.assert_allclose(above.probabilities(x)[0], share, atol=1e-9)
    assert fit_linear(x, y, n_classes, alpha=0.98 * strongest).n_nonzero.sum() > 0


def test_a_start_leads_to_the_same_optimum() -> None:
    x, y = made_up(3, seed=10)
    settings = {"alpha": 0.01, "l1_ratio": 0.9, "tol": 1e-7}
    cold = fit_linear(x, y, 3, **settings)
    for far in (0.001, 0.03):
        warm = fit_linear(x, y, 3, start=fit_linear(x, y, 3, alpha=far), **settings)
        np.testing.assert_allclose(warm.coef, cold.coef, atol=1e-5)
    again = fit_linear(x, y, 3, start=cold, **settings)
    assert again.iterations == 0


def test_many_entries_are_solved_without_laying_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = made_up(3, seed=11)
    settings = {"alpha": 0.01, "l1_ratio": 0.9, "tol": 1e-7}
    laid_out = fit_linear(x, y, 3, **settings)
    monkeypatch.setattr("insight.heads.linear.entries.MOST_VALUES", 0)
    np.testing.assert_allclose(fit_linear(x, y, 3, **settings).coef, laid_out.coef, atol=1e-5)
