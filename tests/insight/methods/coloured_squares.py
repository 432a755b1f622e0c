"""A made problem that any method learns: photos of one square on noise, whose class is its colour."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from insight.methods.bank import ConceptBank
from insight.methods.training import Examples

COLOURS = {"red_square": (220, 40, 40), "green_square": (40, 200, 40), "blue_square": (50, 60, 220)}
CONCEPTS = {
    "red_square": ["red like a brick", "four corners", "the colour of blood"],
    "green_square": ["green like grass", "four corners"],
    "blue_square": ["blue like the sky", "the colour of water"],
}


def squares_bank() -> ConceptBank:
    """Three classes of 3, 2 and 2 concepts; the first two share one."""
    return ConceptBank.of(CONCEPTS)


def squares(n: int = 30, seed: int = 0, side: int = 64) -> Examples:
    """n photos, the classes by turns."""
    random = np.random.default_rng(seed)
    photos = []
    for number in range(n):
        pixels = random.integers(90, 130, (side, side, 3), dtype=np.uint8)
        size = int(random.integers(side // 2, side - 8))
        top, left = random.integers(0, side - size, 2)
        pixels[top : top + size, left : left + size] = [*COLOURS.values()][number % 3]
        photos.append(Image.fromarray(pixels))
    load = tuple((lambda photo=photo: photo) for photo in photos)
    return Examples(torch.arange(n) % 3, tuple(f"square-{number}" for number in range(n)), load)
