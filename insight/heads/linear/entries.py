"""The chosen entries of W as one sparse matrix: what they add to the logits, and their gradient.

Most weights are zero along the path, and which ones differs from class to class. So each chosen pair (class, feature)
is a column of a matrix [n · rows, entries], and an inner iteration costs as much as these entries have values in x,
however many classes there are. In: a problem and chosen entries. Out: logits and gradients.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csc_array

from .problem import Problem

MOST_VALUES = 40_000_000
"""More values than this (half a gigabyte) are not laid out; products with the whole rows take their place."""


class Entries:
    """Chosen entries of W, flat positions class · F + feature in ascending order."""

    def __init__(self, problem: Problem, chosen: Int64[np.ndarray, " k"]) -> None:
        self.problem, self.chosen = problem, chosen
        n, n_features = problem.x.shape
        rows = problem.n_rows_of_weights
        row, feature = np.divmod(chosen, n_features)
        counts = np.diff(problem.columns.indptr)[feature]
        self._matrix: csc_array | None = None
        if counts.sum() <= MOST_VALUES:
            part = problem.columns[:, feature]
            place = part.indices.astype(np.int64) * rows + np.repeat(row, counts)
            self._matrix = csc_array((part.data, place, part.indptr), shape=(n * rows, len(chosen)))

    def logits(self, weights: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, "n rows"]:
        """What these weights add to the logits."""
        if self._matrix is not None:
            return (self._matrix @ weights).reshape(-1, self.problem.n_rows_of_weights)
        full = np.zeros((self.problem.n_rows_of_weights, self.problem.x.shape[1]))
        full.reshape(-1)[self.chosen] = weights
        return self.problem.x @ np.ascontiguousarray(full.T)

    def gradient(self, residuals: Float64[np.ndarray, "n rows"]) -> Float64[np.ndarray, " k"]:
        """Derivative of the loss by these weights."""
        if self._matrix is not None:
            return self._matrix.T @ residuals.reshape(-1)
        return self.problem.gradient(residuals).reshape(-1)[self.chosen]
