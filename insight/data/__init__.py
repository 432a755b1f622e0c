"""Where images come from: sources of images, and the photos of the demo."""

from .decode import BadImage, decode, decode_bytes
from .folder import ImageFolder
from .masks import class_map
from .source import ImageSource, Item

__all__ = ["BadImage", "ImageFolder", "ImageSource", "Item", "class_map", "decode", "decode_bytes"]
