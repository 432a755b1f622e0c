"""ConceptClassifier is an estimator of scikit-learn: its own checks, on plain arrays and sparse ones."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from insight import InsightError
from insight.heads import ConceptClassifier

from .made import random_model

WEIGHTS = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
CLOSE = "the optimum is the same (below), but found to the solver's tolerance, and the check asks for 7 digits"
DRAWN = "which images are held out depends on how many there are, so a weight of 2 is not the same as an image twice"


@parametrize_with_checks(
    [ConceptClassifier(alpha=0.01)], expected_failed_checks=lambda _: dict.fromkeys(WEIGHTS, CLOSE)
)
def test_scikit_learn_finds_nothing_wrong_at_one_penalty(estimator, check) -> None:
    check(estimator)


def test_a_weight_is_as_good_as_that_many_images() -> None:
    rng = np.random.default_rng()
    rows, y, weight = rng.random((60, 8)), rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    y[:3], weight[:3] = [0, 1, 2], 1
    weighted = ConceptClassifier(alpha=0.01, tol=1e-6).fit(rows, y, sample_weight=weight)
    repeated = ConceptClassifier(alpha=0.01, tol=1e-6).fit(rows.repeat(weight, 0), y.repeat(weight))
    np.testing.assert_allclose(weighted.predict_proba(rows), repeated.predict_proba(rows), atol=5e-3)


@pytest.mark.soak
@parametrize_with_checks([ConceptClassifier()], expected_failed_checks=lambda _: dict.fromkeys(WEIGHTS, DRAWN))
def test_scikit_learn_finds_nothing_wrong_when_the_penalty_is_chosen(estimator, check) -> None:
    check(estimator)


def test_a_clone_is_unfitted_and_shares_the_model() -> None:
    model = random_model(np.random.default_rng())
    head = ConceptClassifier(model, alpha=0.01, class_weight={"a": 2.0})
    rows = np.random.default_rng().random((6, 48))
    head.fit(rows, list("ababab"))
    twin = clone(head)
    assert twin.model is model
    assert twin.get_params() == head.get_params()
    assert not hasattr(twin, "coef_")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"pooling": "median"}, "pooling: expected one of max"),
        ({"alpha": 0}, 'alpha: expected "auto" or a number above 0, found 0'),
        ({"alpha": "best"}, "found 'best'"),
        ({"max_concepts": 0}, "max_concepts: expected None or a number from 1"),
        ({"prior": "image"}, 'prior: expected None or "text"'),
        ({"validation": 1.0}, "validation: expected a share between 0 and 1"),
        ({"temperature": -1}, "temperature: expected a number above 0"),
        ({"l1_ratio": 2}, "l1_ratio: expected a number from 0 to 1"),
        ({"prior": "text"}, 'prior="text" needs the model'),
    ],
)
def test_parameters_out_of_range_are_said_when_fitted(parameters, said) -> None:
    head = ConceptClassifier(**parameters)
    with pytest.raises(InsightError, match=said):
        head.fit(np.eye(6), list("ababab"))
