"""Whether the parameters of a classifier are in range: asked when it is fitted, as scikit-learn wants it."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from sae.errors import InsightError

from .pooling import Pooling

if TYPE_CHECKING:
    from .classifier import ConceptClassifier


def check_parameters(head: ConceptClassifier) -> None:
    """`InsightError` names the first parameter that is out of range; those of the solver it checks itself."""
    for name, right, expected in (
        ("pooling", head.pooling in get_args(Pooling), f"one of {', '.join(get_args(Pooling))}"),
        ("alpha", head.alpha == "auto" or _between(head.alpha, 0, np.inf), '"auto" or a number above 0'),
        ("max_concepts", head.max_concepts is None or _is_count(head.max_concepts), "None or a number from 1"),
        ("prior", head.prior in (None, "text"), 'None or "text"'),
        ("validation", _between(head.validation, 0, 1), "a share between 0 and 1"),
        ("temperature", _between(head.temperature, 0, np.inf), "a number above 0"),
    ):
        if not right:
            raise InsightError(f"{name}: expected {expected}, found {getattr(head, name)!r}")


def _between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and low < float(value) < high


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
