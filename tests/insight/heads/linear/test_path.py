"""A path is the single fits, one after the other, from no features at all on."""

import numpy as np
import pytest

from insight.heads.linear import alpha_max, fit_linear, fit_path
from tests.insight.heads.linear.problems import Dense, made_up


@pytest.mark.parametrize("n_classes", [2, 4])
def test_every_step_is_optimal(n_classes: int) -> None:
    x, y = made_up(n_classes, seed=20)
    fits = fit_path(x, y, n_classes, scale=None)
    strongest = alpha_max(x, y, n_classes, scale=None)
    np.testing.assert_allclose([fit.alpha for fit in fits], strongest * np.geomspace(1, 1e-3, 40), rtol=1e-12)
    assert fits[0].n_nonzero.sum() == 0
    assert fits[-1].n_nonzero.sum() > fits[5].n_nonzero.sum() > 0
    for fit in fits:
        dense = Dense(x.toarray(), y, n_classes, fit.alpha, fit.l1_ratio)
        assert fit.converged
        assert dense.violation(fit.coef, fit.intercept) <= 1.01e-4
    objectives = [fit.objective for fit in fits]
    assert objectives == sorted(objectives, reverse=True)


def test_a_step_is_the_single_fit() -> None:
    x, y = made_up(3, seed=21)
    settings = {"l1_ratio": 0.9, "tol": 1e-7}
    path = fit_path(x, y, 3, alphas=[0.002, 0.05, 0.01], **settings)
    assert [fit.alpha for fit in path] == [0.05, 0.01, 0.002]
    for fit in path:
        np.testing.assert_allclose(fit.coef, fit_linear(x, y, 3, alpha=fit.alpha, **settings).coef, atol=1e-4)


def test_it_ends_where_a_class_uses_more_features_than_asked_for() -> None:
    x, y = made_up(3, seed=22)
    whole = fit_path(x, y, 3)
    ended = fit_path(x, y, 3, most_per_class=5)
    used = [fit.n_nonzero.mean() for fit in whole]
    assert len(ended) == next(i for i, count in enumerate(used) if count > 5) + 1
    assert len(ended) < len(whole)
