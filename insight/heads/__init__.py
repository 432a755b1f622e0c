"""Classification and segmentation on concepts: linear heads whose every output is a sum over named concepts."""

from .class_explanation import ClassExplanation
from .classifier import ConceptClassifier
from .regions import Region
from .segmentation import Segmentation
from .segmenter import ConceptSegmenter

__all__ = ["ClassExplanation", "ConceptClassifier", "ConceptSegmenter", "Region", "Segmentation"]
