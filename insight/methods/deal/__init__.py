"""DEAL: a CLIP model fine-tuned so that its concepts stand apart from each other and together cover their class."""

from .deal import Deal, DealSettings

__all__ = ["Deal", "DealSettings"]
