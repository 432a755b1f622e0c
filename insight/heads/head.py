"""The head as mathematics: from pooled concepts to logits, and back from a logit to what each concept put into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array
from scipy.special import expit, softmax

from .pooling import Pooling
from .text_head import TextHead

MEANS: tuple[Pooling, ...] = ("mean", "max+mean")
"""Poolings whose rows hold the mean that a text head reads."""


@dataclass(frozen=True, eq=False)
class Head:
    """logits = X coefᵀ + intercept (+ those of the text); of two classes one row, the log-odds of the second.

    A feature is a concept, pooled in one way: of m = `n_concepts`, feature f is of concept f mod m. A text head reads
    the last m features, which are the means; it, too, is linear in the features of each single photo, so every logit is
    a sum over its features in every mode.
    """

    coef: Float64[np.ndarray, "rows F"]
    intercept: Float64[np.ndarray, " rows"]
    n_concepts: int
    text: TextHead | None = None

    @property
    def n_features(self) -> int:
        """F."""
        return self.coef.shape[1]

    def mean_of(self, x: csr_array) -> csr_array:
        """The mean-pooled codes [n, m] among rows [n, F]: their last m columns."""
        return x[:, self.n_features - self.n_concepts :]

    def lengths(self, x: csr_array) -> Float64[np.ndarray, " n"] | None:
        """‖x̂‖ of photos, where the head has a text."""
        return None if self.text is None else self.text.lengths(self.mean_of(x))

    def scores(self, x: csr_array, lengths: Float64[np.ndarray, " n"] | None = None) -> Float64[np.ndarray, "n rows"]:
        """Logits of rows [n, F]; `lengths` of the photos they came from, where the rows were edited since."""
        scores = np.asarray(x @ self.coef.T) + self.intercept
        if self.text is not None:
            mean = self.mean_of(x)
            scores += self.text.logits(mean, self.text.lengths(mean) if lengths is None else lengths)
        return scores

    def contributions(
        self, x: csr_array, targets: Int64[np.ndarray, " n"]
    ) -> tuple[csr_array, Float64[np.ndarray, " n"]]:
        """What each concept [n, m] and the intercept [n] put into the logit of one class a row; they sum to it.

        Of two classes the logit of the first is minus that of the second.
        """
        row_of, sign = class_rows(targets, len(self.intercept))
        x = csr_array(x)
        entry_row = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
        weights = self.coef[row_of[entry_row], x.indices]
        intercept = self.intercept[row_of]
        if self.text is not None:
            lengths = self.lengths(x)
            assert lengths is not None
            is_mean = x.indices >= self.n_features - self.n_concepts
            concept = x.indices[is_mean] % self.n_concepts
            row = entry_row[is_mean]
            weights[is_mean] += self.text.weights[concept, row_of[row]] / lengths[row]
            intercept = intercept + self.text.intercept[row_of] / lengths
        terms = x.data.astype(np.float64) * weights * sign[entry_row]
        joined = csr_array((terms, x.indices % self.n_concepts, x.indptr.copy()), shape=(x.shape[0], self.n_concepts))
        joined.sum_duplicates()
        return joined, intercept * sign

    def of_photo(
        self, x: csr_array
    ) -> tuple[Int64[np.ndarray, " a"], Float64[np.ndarray, " a"], Float64[np.ndarray, "rows a"], np.ndarray]:
        """One photo's active features, their values, their weights in every logit, and the intercepts [rows]."""
        features, values = x.indices.astype(np.int64), x.data.astype(np.float64)
        weights, intercept = self.coef[:, features].copy(), self.intercept
        if self.text is not None:
            lengths = self.lengths(x)
            assert lengths is not None
            is_mean = features >= self.n_features - self.n_concepts
            weights[:, is_mean] += self.text.weights[features[is_mean] % self.n_concepts].T / lengths[0]
            intercept = intercept + self.text.intercept / lengths[0]
        return features, values, weights, intercept


def class_rows(
    targets: Int64[np.ndarray, " n"], rows: int
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The row of weights that speaks for each class, and its sign: with one row, -1 for the first of two classes."""
    if rows > 1:
        return targets, np.ones(len(targets))
    return np.zeros_like(targets), np.where(targets == 1, 1.0, -1.0)


def class_logits(scores: Float64[np.ndarray, "n rows"]) -> Float64[np.ndarray, "n C"]:
    """A logit a class; of two classes the log-odds of each, one minus the other."""
    return scores if scores.shape[1] > 1 else np.hstack([-scores, scores])


def class_probabilities(scores: Float64[np.ndarray, "n rows"]) -> Float64[np.ndarray, "n C"]:
    """Probabilities of all classes: softmax, of two classes the logistic function."""
    return softmax(scores, axis=1) if scores.shape[1] > 1 else expit(np.hstack([-scores, scores]))


def predicted(scores: Float64[np.ndarray, "n rows"]) -> Int64[np.ndarray, " n"]:
    """The number of the class with the largest logit."""
    return scores.argmax(1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.int64)
