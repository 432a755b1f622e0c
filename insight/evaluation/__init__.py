"""Measures of what concepts and heads on them are worth: streamed, on codes and masks alone."""

from .grounding import Grounding, GroundingMeter
from .sparsity import concepts_to_reach

__all__ = ["Grounding", "GroundingMeter", "concepts_to_reach"]
