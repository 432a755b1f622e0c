"""What opaque features give: linear probes and nearest neighbours, their settings chosen on training photographs.

In: float32 [n, .] features and the classes of a `Named` set. Out: `Answers`: scores of the photographs tested, fold by
fold, and how right the choice was among the training photographs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.heads.named import Named
from benchmarks.heads.settings import DRAW, INNER_FOLDS, NEIGHBOURS, PROBE_ITERATIONS, PROBE_STRENGTHS

Estimator = Callable[[Any], Any]
"""From a setting to an estimator of scikit-learn's kind, not fitted."""


@dataclass(frozen=True)
class Answers:
    """scores: float [tested, classes], higher is likelier; chosen: the setting of each fold; inner: accuracy of the
    settings chosen, on parts of the training photographs, mean over folds."""

    scores: np.ndarray
    chosen: tuple[Any, ...]
    inner: float

    def right(self, named: Named) -> np.ndarray:
        """float64 [tested]: 1 where the best score is that of the class."""
        return (self.scores.argmax(1) == named.truth[named.tested]).astype(np.float64)


def linear_probe(features: np.ndarray, named: Named, strengths: Sequence[float] | None = None) -> Answers:
    """Logistic regression (lbfgs) on standardised features; `strengths`: of each fold, where they are known."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def probe(strength: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=PROBE_ITERATIONS))

    return answered(features, named, probe, PROBE_STRENGTHS, strengths)


def neighbours(features: np.ndarray, named: Named) -> Answers:
    """k nearest training photographs by cosine, each vote weighted by nearness."""
    from sklearn.neighbors import KNeighborsClassifier

    return answered(
        features,
        named,
        lambda k: KNeighborsClassifier(k, metric="cosine", weights="distance"),
        NEIGHBOURS,
    )


def answered(
    features: np.ndarray,
    named: Named,
    estimator: Estimator,
    settings: Sequence[Any],
    known: Sequence[Any] | None = None,
) -> Answers:
    """On each fold: the setting that is best over parts of its training photographs, fitted on all of them.

    known: the setting of each fold, where it is not to be chosen.
    """
    scores, chosen, inner = [], [], []
    for fold, (train, test) in enumerate(named.folds):
        setting, found = (
            best_setting(features[train], named.truth[train], estimator, settings)
            if known is None
            else (known[fold], np.nan)
        )
        scores.append(all_classes(estimator(setting).fit(features[train], named.truth[train]), features[test], named))
        chosen.append(setting)
        inner.append(found)
    return Answers(np.concatenate(scores), tuple(chosen), float(np.mean(inner)))


def best_setting(
    features: np.ndarray, truth: np.ndarray, estimator: Estimator, settings: Sequence[Any]
) -> tuple[Any, float]:
    """The setting of best mean accuracy over inner folds (of equals the first), and that accuracy."""
    from sklearn.model_selection import StratifiedKFold

    cut = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=DRAW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer photographs than inner folds
        parts = list(cut.split(features, truth))
    fits = [setting for setting in settings if not isinstance(setting, int) or setting <= min(len(a) for a, _ in parts)]
    mean = [
        float(np.mean([estimator(one).fit(features[a], truth[a]).score(features[b], truth[b]) for a, b in parts]))
        for one in fits
    ]
    best = int(np.argmax(mean))
    return fits[best], mean[best]


def all_classes(fitted: Any, features: Any, named: Named) -> np.ndarray:
    """Probabilities [n, classes], 0 for classes that the training photographs did not have."""
    scores = np.zeros((features.shape[0], len(named.classes)))
    scores[:, fitted.classes_] = fitted.predict_proba(features)
    return scores
