"""Every setting of the benchmark `attribution`, as data. Nothing of it was chosen on test photographs."""

from __future__ import annotations

from insight.attribution import Explainer
from insight.attribution.concepts import ConceptMaps
from insight.attribution.explainers import explainer
from insight.model import ConceptModel

SEED = 0
"""Of the draw of photographs."""
PHOTOS = 14
"""Test photographs of each set whose maps are held against masks."""
CHANGED = 3
"""Of these, those whose pixels are changed to ask the model again."""
STEPS = 5
"""Of deletion and insertion."""
CELL = 14
"""Pixels of a side of what is taken out or put in at once: a patch."""
RISE_MASKS = 64
"""Of 4,000 as published: each is a forward pass."""
OURS, M2IB, RELEVANCE = "concepts", "m2ib", "relevance"
RANDOM, CENTRE, WRONG = "random", "centre", "similarity upside down"
BOTTLENECK_RATIO = 5
"""Claim: how many times faster than with the whole model at every step."""
CONCEPTS_SHARE = 1 / 20
"""Claim: time of concept maps over that of M2IB's."""


def explainers_of(model: ConceptModel, quick: bool) -> dict[str, Explainer]:
    """All that are compared, by name, defaults but for the costly ones."""
    few = {"steps": 3, "samples": 2} if quick else {}
    return {
        OURS: ConceptMaps(model),
        "similarity": explainer("similarity"),
        M2IB: explainer("m2ib", **few),
        RELEVANCE: explainer("relevance"),
        "gradcam": explainer("gradcam"),
        "rise": explainer("rise", masks=8 if quick else RISE_MASKS),
        "captum:saliency": explainer("captum:saliency"),
        CENTRE: explainer("centre"),
        RANDOM: explainer("random"),
    }
