"""From the grid of patches to the pixels of the photo: features or concept maps, by one function, `upsample`.

`guided_codes` stays on the grid: it fills the holes of concept maps by the features of alike patches.
"""

from .affinity import guided_codes
from .bilateral import joint_bilateral
from .learned import LEARNED
from .to_pixels import upsample

__all__ = ["LEARNED", "guided_codes", "joint_bilateral", "upsample"]
