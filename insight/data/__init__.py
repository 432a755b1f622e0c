"""Where images come from: folders of photos, and the photos of the demo."""

from .decode import BadImage, decode
from .folder import ImageFolder

__all__ = ["BadImage", "ImageFolder", "decode"]
