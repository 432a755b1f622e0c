"""The chosen entries of W as one sparse matrix: what they add to the logits, and their gradient.

Most weights are zero along the path, and which ones differs from class to class. So each chosen pair (class, feature)
is a column of a matrix [rows · n, entries], and an inner iteration costs as much as these entries have values in x,
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
    """Chosen entries of W, flat positions class · F + feature in ascending order.

    Where the intercept is free, features count from their mean, which only shifts the intercept but spares iterations:
    else all weights of a class that rise together act like its intercept.
    """

    def __init__(self, problem: Problem, chosen: Int64[np.ndarray, " k"]) -> None:
        self.problem, self.chosen = problem, chosen
        n, n_features = problem.x.shape
        self.row, feature = np.divmod(chosen, n_features)
        self.mean = problem.mean[feature] if problem.fit_intercept else None
        counts = np.diff(problem.columns.indptr)[feature]
        self._matrix: csc_array | None = None
        if counts.sum() <= MOST_VALUES:
            part = problem.columns[:, feature]
            size = problem.n_rows_of_weights * n
            kind = np.int32 if size < 2**31 else np.int64
            place = part.indices.astype(kind) + np.repeat((self.row * n).astype(kind), counts)
            self._matrix = csc_array((part.data, place, part.indptr.astype(kind)), shape=(size, len(chosen)))

    def shift(self, weights: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " rows"]:
        """What these weights add to the logits at the mean of the features; 0 without an intercept."""
        rows = self.problem.n_rows_of_weights
        return np.zeros(rows) if self.mean is None else np.bincount(self.row, self.mean * weights, rows)

    def logits(self, weights: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, "rows n"]:
        """What these weights add to the logits, beyond `shift`."""
        if self._matrix is not None:
            logits = (self._matrix @ weights).reshape(self.problem.n_rows_of_weights, -1)
        else:
            full = np.zeros((self.problem.n_rows_of_weights, self.problem.x.shape[1]))
            full.reshape(-1)[self.chosen] = weights
            logits = self.problem.products(full)
        if self.mean is not None:
            logits -= self.shift(weights)[:, None]
        return logits

    def gradient(self, residuals: Float64[np.ndarray, "rows n"]) -> Float64[np.ndarray, " k"]:
        """Derivative of the loss by these weights."""
        if self._matrix is not None:
            gradient = self._matrix.T @ residuals.reshape(-1)
        else:
            gradient = self.problem.gradient(residuals).reshape(-1)[self.chosen]
        if self.mean is not None:
            gradient -= self.mean * residuals.sum(1)[self.row]
        return gradient
