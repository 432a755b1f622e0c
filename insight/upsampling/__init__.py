"""From the grid of patches to the pixels of the photo: features or concept maps, by one function, `upsample`."""

from .bilateral import joint_bilateral
from .learned import LEARNED
from .to_pixels import upsample

__all__ = ["LEARNED", "joint_bilateral", "upsample"]
