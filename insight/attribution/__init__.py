"""Where in a photo a text stands: attribution methods behind one signature, (model, images, texts) to maps."""

from .concepts import ConceptMaps
from .explainer import Explainer
from .explainers import NAMES, explainer
from .m2ib import M2IB, TextMap
from .relevance import relevance_maps
from .scaling import standardised
from .scorer import Explainable, Scorer, scorer_of

__all__ = [
    "M2IB",
    "NAMES",
    "ConceptMaps",
    "Explainable",
    "Explainer",
    "Scorer",
    "TextMap",
    "explainer",
    "relevance_maps",
    "scorer_of",
    "standardised",
]
