"""Insight: the concept foundation model and its uses.

`ConceptModel` explains photos, and `Edits` are a person's corrections of it; `insight.backbones` and `insight.cache`
feed it. Names are imported when first used, so that the command line answers at once.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.errors import InsightError

    from .edits import Edits
    from .explanation import ConceptEvidence, Explanation
    from .model import ConceptModel

__all__ = ["ConceptEvidence", "ConceptModel", "Edits", "Explanation", "InsightError"]

_HOME = {
    "ConceptEvidence": "insight.explanation",
    "ConceptModel": "insight.model",
    "Edits": "insight.edits",
    "Explanation": "insight.explanation",
    "InsightError": "sae.errors",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module 'insight' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
