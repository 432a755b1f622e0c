"""The image side of a method: what of it is trained, and what of a photo therefore never changes."""

from .tower import FrozenTower, PhotoVectors, Tower, TunedTower

__all__ = ["FrozenTower", "PhotoVectors", "Tower", "TunedTower"]
