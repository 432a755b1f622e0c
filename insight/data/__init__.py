"""Where images come from: folders, lists, tar shards, datasets of other packages, and the photos of the demo."""

from .decode import BadImage, decode, decode_bytes
from .folder import ImageFolder, find_photo
from .huggingface import HuggingFaceSet
from .image_list import ImageList
from .masks import class_map
from .open_source import open_source
from .source import ImageSource, Item
from .tar_shards import TarShards
from .torchvision_set import TorchvisionSet

__all__ = [
    "BadImage",
    "HuggingFaceSet",
    "ImageFolder",
    "ImageList",
    "ImageSource",
    "Item",
    "TarShards",
    "TorchvisionSet",
    "class_map",
    "decode",
    "decode_bytes",
    "find_photo",
    "open_source",
]
