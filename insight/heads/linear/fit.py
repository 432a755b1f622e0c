"""A sparse linear model that was fitted, and how close to the optimum it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array
from scipy.special import expit, softmax

from sae.errors import InsightError


@dataclass(frozen=True)
class LinearFit:
    """Weights in raw units of the features; of two classes there is one row, which speaks for class 1."""

    coef: Float64[np.ndarray, "rows F"]
    intercept: Float64[np.ndarray, " rows"]
    alpha: float
    l1_ratio: float
    objective: float
    """What was minimised, at these weights: mean cross-entropy plus penalty."""
    violation: float
    """Largest violation of the conditions of optimality, relative to `alpha`; 0 is the exact optimum."""
    iterations: int
    converged: bool

    @property
    def n_classes(self) -> int:
        """C."""
        return max(2, len(self.coef))

    @property
    def n_nonzero(self) -> Int64[np.ndarray, " rows"]:
        """How many features each class (of two classes: their one row) uses."""
        return np.count_nonzero(self.coef, axis=1)

    def decision(self, x: csr_array, offset: Float64[np.ndarray, "n C"] | None = None) -> Float64[np.ndarray, "n rows"]:
        """Logits [n, C]; of two classes [n, 1], the logit of class 1. `InsightError` for another number of features."""
        if x.shape[1] != self.coef.shape[1]:
            raise InsightError(f"x: expected {self.coef.shape[1]} features, found {x.shape[1]}")
        logits = np.asarray(x @ self.coef.T) + self.intercept
        if offset is not None:
            logits += offset if len(self.coef) > 1 else offset[:, 1:] - offset[:, :1]
        return logits

    def probabilities(
        self, x: csr_array, offset: Float64[np.ndarray, "n C"] | None = None
    ) -> Float64[np.ndarray, "n C"]:
        """Probabilities of all classes (two also for two)."""
        logits = self.decision(x, offset)
        if len(self.coef) > 1:
            return softmax(logits, axis=1)
        return np.hstack([expit(-logits), expit(logits)])
