"""Measures of what concepts, heads, maps and methods are worth, with what no knowledge gives (docs/evaluation.md)."""

from .bootstrap import interval
from .classification import classification
from .concept_maps import consistency, disentanglability, overlap, separation
from .doubly_right import DoublyRight, PairNames, TopPairs, doubly_right, top_pairs
from .drop_increase import DropIncrease, drop_increase
from .faithfulness import Curve, Faithfulness, faithfulness
from .grounding import Grounding, GroundingMeter
from .insertion_deletion import PixelCurve, deletion, fidelity, insertion
from .judging import Case, Row, judge, summary
from .localisation import Localisation, best_threshold, localise
from .over_images import mean_over_images
from .pointing import Pointing, PointingMeter
from .roar import Removal, removal
from .segmentation import accuracy, confusion, interval_of_tables, iou_of_classes, mean_iou
from .sparsity import concepts_to_reach
from .text_drop_increase import text_drop_increase
from .thresholds import Cutoffs, CutoffScores, choose_cutoffs, score_cutoffs

__all__ = [
    "Case",
    "Curve",
    "CutoffScores",
    "Cutoffs",
    "DoublyRight",
    "DropIncrease",
    "Faithfulness",
    "Grounding",
    "GroundingMeter",
    "Localisation",
    "PairNames",
    "PixelCurve",
    "Pointing",
    "PointingMeter",
    "Removal",
    "Row",
    "TopPairs",
    "accuracy",
    "best_threshold",
    "choose_cutoffs",
    "classification",
    "concepts_to_reach",
    "confusion",
    "consistency",
    "deletion",
    "disentanglability",
    "doubly_right",
    "drop_increase",
    "faithfulness",
    "fidelity",
    "insertion",
    "interval",
    "interval_of_tables",
    "iou_of_classes",
    "judge",
    "localise",
    "mean_iou",
    "mean_over_images",
    "overlap",
    "removal",
    "score_cutoffs",
    "separation",
    "summary",
    "text_drop_increase",
    "top_pairs",
]
