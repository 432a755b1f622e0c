"""Classification and segmentation on concepts: linear heads whose every output is a sum over named concepts."""

from .class_explanation import ClassExplanation
from .classifier import ConceptClassifier

__all__ = ["ClassExplanation", "ConceptClassifier"]
