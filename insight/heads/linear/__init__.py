"""Sparse multinomial logistic regression on sparse rows. Knows numbers and classes; nothing of images or concepts."""

from .fit import LinearFit
from .path import alpha_max, fit_linear, fit_path
from .scaling import Scale, feature_scale
from .stream_data import Batches, Rows
from .streamed import fit_streamed

__all__ = [
    "Batches",
    "LinearFit",
    "Rows",
    "Scale",
    "alpha_max",
    "feature_scale",
    "fit_linear",
    "fit_path",
    "fit_streamed",
]
