"""The image side of a method: what of it is trained, and what of a photo therefore never changes."""

from .adapters import Adapter, AdapterSettings, adapted_tower
from .lora import LoraTower
from .tower import FrozenTower, PhotoVectors, Tower, TunedTower
from .visual_tokens import TokenTower, VisualTokens

__all__ = [
    "Adapter",
    "AdapterSettings",
    "FrozenTower",
    "LoraTower",
    "PhotoVectors",
    "TokenTower",
    "Tower",
    "TunedTower",
    "VisualTokens",
    "adapted_tower",
]
