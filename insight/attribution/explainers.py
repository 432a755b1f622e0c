"""Explainers by name, as on the command line. In: a name and settings. Out: an `Explainer`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

from sae.errors import InsightError

from ..backbones.names import meant
from .captum_maps import METHODS, Captum
from .explainer import Explainer
from .grad_cam import GradCAM
from .m2ib import M2IB
from .nulls import CentrePoint, RandomMap
from .relevance import Relevance
from .rise import RISE
from .similarity import Similarity

PLAIN: tuple[type[Explainer], ...] = (Relevance, GradCAM, RISE, Similarity, M2IB, RandomMap, CentrePoint)
NAMES = (*(kind.name for kind in PLAIN), *(f"captum:{method}" for method in METHODS))
"""All that need no more than settings. Maps by concepts need a model: `ConceptMaps(model)`."""


def explainer(name: str, **settings: Any) -> Explainer:
    """The explainer of that name with these settings, the defaults for all others.

    `InsightError` for an unknown name or setting, with what may have been meant, and for a setting out of range.
    """
    if name not in NAMES:
        if name == "concepts":
            raise InsightError("explainer 'concepts' needs a concept model; build it by ConceptMaps(model)")
        raise InsightError(f"no explainer is called {name!r}{meant(name, NAMES)}; expected one of {', '.join(NAMES)}")
    kind = Captum if name.startswith("captum:") else next(kind for kind in PLAIN if kind.name == name)
    known = [setting.name for setting in fields(kind) if setting.init and setting.name != "method"]  # type: ignore[arg-type]
    for setting in settings:
        if setting not in known:
            expected = f"one of {', '.join(known)}" if known else "none"
            raise InsightError(f"{name}: no setting {setting!r}{meant(setting, known)}; expected {expected}")
    make = partial(Captum, name.removeprefix("captum:")) if kind is Captum else kind
    return make(**settings)
