"""How sure a name is: the estimated probability that it is right, from signals that need no labels.

In: `name_signals` of a dictionary. Out: a probability for each name, by a logistic function whose weights were fitted
once where labels are known (`scripts/calibrate_names.py`). Signals enter as ranks within their own dictionary, so that
the units of a text space do not matter; on data where names are right more or less often than there, the order holds
and the level does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from sae.errors import InsightError
from sae.files import read_json, write_json

from .signals import SIGNALS

FORMAT = "insight-name-confidence"


@dataclass(frozen=True)
class Confidence:
    """A logistic function of the signals' ranks."""

    intercept: float
    weights: tuple[float, ...]
    """One for each of `SIGNALS`."""
    fitted_on: str
    """Data, model and number of names."""

    def __call__(self, signals: Float[np.ndarray, "m s"]) -> Float[np.ndarray, " m"]:
        """The probability that each name is right, from the signals of all concepts of a dictionary; NaN stays NaN."""
        return 1 / (1 + np.exp(-(self.intercept + signal_ranks(signals) @ np.array(self.weights))))

    @classmethod
    def fit(
        cls,
        signals: Float[np.ndarray, "m s"],
        labelled: Bool[np.ndarray, " m"],
        right: Bool[np.ndarray, " m"],
        fitted_on: str,
        *,
        penalty: float = 1.0,
    ) -> Confidence:
        """Fit to the concepts that are `labelled` (and named), of which `right` says whether the name is.

        Ranks are taken among all concepts. `penalty`: of squared weights, after scikit-learn's 1/C on ranks scaled to
        a variance of 1.
        """
        from sklearn.linear_model import LogisticRegression

        ranks = signal_ranks(signals)
        known = labelled & np.isfinite(ranks).all(1)
        if len(set(right[known].tolist())) < 2:
            raise InsightError(
                "Confidence.fit: expected labelled names, some right and some wrong; found only one kind"
            )
        scale = math.sqrt(12.0)  # a uniform rank has a variance of 1/12
        model = LogisticRegression(C=1 / penalty).fit(ranks[known] * scale, right[known])
        weights = tuple(float(w) * scale for w in model.coef_[0])
        return cls(float(model.intercept_[0]), weights, fitted_on)

    @classmethod
    def load(cls, path: Path | str | None = None) -> Confidence:
        """Read what `save` wrote; None: the one that comes with the package, fitted on names of `small`."""
        source = Path(str(files("naming") / "names" / "confidence.json")) if path is None else Path(path)
        values: dict[str, Any] = dict(read_json(source))
        if values.get("format") != FORMAT or list(values.get("weights", {})) != list(SIGNALS):
            expected = f"weights of {', '.join(SIGNALS)}"
            raise InsightError(f"{source}: expected {FORMAT} with {expected}, found another file")
        return cls(float(values["intercept"]), tuple(map(float, values["weights"].values())), str(values["fitted_on"]))

    def save(self, path: Path | str, **card: Any) -> None:
        """Write JSON: intercept, weights by signal, what it was fitted on, and what else `card` says."""
        weights = dict(zip(SIGNALS, self.weights, strict=True))
        values = {"format": FORMAT, "intercept": self.intercept, "weights": weights, "fitted_on": self.fitted_on}
        write_json(Path(path), values | card)


def signal_ranks(signals: Float[np.ndarray, "m s"]) -> Float[np.ndarray, "m s"]:
    """Each column as ranks in (0, 1] among the rows without NaN (concepts with a name); ties share their mean."""
    from scipy.stats import rankdata

    ranks = np.full(signals.shape, np.nan)
    named = np.isfinite(signals).all(1)
    if named.any():
        ranks[named] = rankdata(signals[named], axis=0) / named.sum()
    return ranks
