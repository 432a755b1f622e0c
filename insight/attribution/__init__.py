"""Where in a photo a text stands: attribution methods behind one signature, (model, images, texts) to maps."""

from .concepts import ConceptMaps
from .explainer import Explainer
from .explainers import explainer
from .m2ib import M2IB, TextMap
from .scorer import Explainable, Scorer, scorer_of

__all__ = ["M2IB", "ConceptMaps", "Explainable", "Explainer", "Scorer", "TextMap", "explainer", "scorer_of"]
