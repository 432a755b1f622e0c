"""Measures of what concepts and heads on them are worth: streamed, on codes and masks alone (docs/evaluation.md)."""

from .bootstrap import interval
from .classification import classification
from .faithfulness import Curve, Faithfulness, faithfulness
from .grounding import Grounding, GroundingMeter
from .pointing import Pointing, PointingMeter
from .segmentation import accuracy, confusion, interval_of_tables, iou_of_classes, mean_iou
from .sparsity import concepts_to_reach
from .thresholds import Cutoffs, CutoffScores, choose_cutoffs, score_cutoffs

__all__ = [
    "Curve",
    "CutoffScores",
    "Cutoffs",
    "Faithfulness",
    "Grounding",
    "GroundingMeter",
    "Pointing",
    "PointingMeter",
    "accuracy",
    "choose_cutoffs",
    "classification",
    "concepts_to_reach",
    "confusion",
    "faithfulness",
    "interval",
    "interval_of_tables",
    "iou_of_classes",
    "mean_iou",
    "score_cutoffs",
]
