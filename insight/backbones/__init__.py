"""Frozen encoders: patches, an image vector and text vectors in one space. `load(name)` gives one by its name."""

from .base import Backbone, CentreSquare, DenseFeatures
from .layers import encode_together
from .registry import load, load_together
from .sliding import FitPatches, encode_windows
from .transformer import Transformer

__all__ = [
    "Backbone",
    "CentreSquare",
    "DenseFeatures",
    "FitPatches",
    "Transformer",
    "encode_together",
    "encode_windows",
    "load",
    "load_together",
]
