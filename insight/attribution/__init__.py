"""Where in a photo a text stands: attribution methods behind one signature, (model, images, texts) to maps."""

from .explainer import Explainer
from .scorer import Explainable, Scorer, scorer_of

__all__ = ["Explainable", "Explainer", "Scorer", "scorer_of"]
