"""Made-up sparse rows with classes, and the objective of elastic-net logistic regression written out densely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array


def made_up(n_classes: int, *, n: int = 240, n_features: int = 30, seed: int = 0) -> tuple[csr_array, np.ndarray]:
    """Rows with about a fifth of their features active, whose classes follow noisily from a few of them."""
    rng = np.random.default_rng(seed)
    x = rng.exponential(1, (n, n_features)) * (rng.random((n, n_features)) < 0.2)
    x *= rng.uniform(0.3, 3, n_features)
    weights = rng.normal(0, 1, (n_classes, n_features)) * (rng.random((n_classes, n_features)) < 0.3)
    y = (x @ weights.T + rng.gumbel(0, 1, (n, n_classes))).argmax(1)
    y[:n_classes] = np.arange(n_classes)
    return csr_array(x), y


@dataclass
class Dense:
    """The objective at weights in units of scaled features, its gradient, and the conditions of optimality."""

    x: np.ndarray
    y: np.ndarray
    n_classes: int
    alpha: float
    l1_ratio: float
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None
    divisor: np.ndarray | float = 1.0
    """Of each feature, before the penalty."""

    def logits(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        own = self.x @ coef.T + intercept
        own = np.hstack([np.zeros_like(own), own]) if self.n_classes == 2 else own
        return own if self.offset is None else own + self.offset

    def targets(self) -> np.ndarray:
        return self.y if self.y.ndim == 2 else np.eye(self.n_classes)[self.y]

    def share(self) -> np.ndarray:
        weight = np.ones(len(self.x)) if self.weight is None else self.weight
        return weight / weight.sum()

    def objective(self, coef: np.ndarray, intercept: np.ndarray) -> float:
        logits = self.logits(coef, intercept)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        scaled = coef * self.divisor
        penalty = self.l1_ratio * np.abs(scaled).sum() + (1 - self.l1_ratio) / 2 * (scaled**2).sum()
        return -(self.share() @ (self.targets() * log_p).sum(1)) + self.alpha * penalty

    def violation(self, coef: np.ndarray, intercept: np.ndarray, *, free_intercept: bool = True) -> float:
        """Largest distance of 0 from the subdifferential, relative to alpha."""
        logits = self.logits(coef, intercept)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        residual = (p - self.targets()) * self.share()[:, None]
        residual = residual[:, 1:] if self.n_classes == 2 else residual
        gradient = residual.T @ (self.x / self.divisor)
        scaled = coef * self.divisor
        worst = np.abs(residual.sum(0)).max() if free_intercept else 0.0
        for g, w in zip(gradient.ravel(), scaled.ravel()):
            if w == 0:
                worst = max(worst, abs(g) - self.alpha * self.l1_ratio)
            else:
                slope = g + self.alpha * (1 - self.l1_ratio) * w + self.alpha * self.l1_ratio * np.sign(w)
                worst = max(worst, abs(slope))
        return worst / self.alpha
