"""Patches pooled by what looks alike: to a DINO that sees the photo too, or to convolutions that foresee it."""

from .dino import Guided, load_dino
from .dinoiser import Dinoiser, load_dinoiser

__all__ = ["Dinoiser", "Guided", "load_dino", "load_dinoiser"]
