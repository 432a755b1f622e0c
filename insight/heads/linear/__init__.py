"""Sparse multinomial logistic regression on sparse rows. Knows numbers and classes; nothing of images or concepts."""

from .fit import LinearFit
from .path import alpha_max, fit_linear, fit_path
from .scaling import Scale, feature_scale

__all__ = ["LinearFit", "Scale", "alpha_max", "feature_scale", "fit_linear", "fit_path"]
