"""Frozen encoders: patches, an image vector and text vectors in one space. `load(name)` gives one by its name."""

from .base import Backbone, CentreSquare, DenseFeatures
from .layers import encode_together
from .registry import load, load_together

__all__ = ["Backbone", "CentreSquare", "DenseFeatures", "encode_together", "load", "load_together"]
