"""XCoOp: several learnt prompts a class, held to what is known of it in words (Bie et al., arXiv 2403.09410)."""

from .xcoop import XCoOp, XCoOpSettings

__all__ = ["XCoOp", "XCoOpSettings"]
