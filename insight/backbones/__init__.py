"""Frozen encoders: patches, an image vector and text vectors in one space. `load(name)` gives one by its name."""

from .base import Backbone, CentreSquare, DenseFeatures
from .registry import load

__all__ = ["Backbone", "CentreSquare", "DenseFeatures", "load"]
