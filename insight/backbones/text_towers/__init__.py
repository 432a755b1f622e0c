"""Text encoders by their blocks: what prompts that are learnt, and maps over the words of a text, need of them."""

from .base import TextTokens, TextTower

__all__ = ["TextTokens", "TextTower"]
