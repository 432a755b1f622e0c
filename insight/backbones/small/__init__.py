"""`small`, the offline default: its trunk, its sentence encoder, and the bridge between them."""

from .backbone import BRIDGE, Small, load_small

__all__ = ["BRIDGE", "Small", "load_small"]
