"""Sources of the layouts in which the standard sets of photographs come, by the word that names each.

In: `voc:ROOT?split=train` and the like, through `insight.data.open_source`. Out: an `ImageSource` each.
"""

from .ade20k import Ade20k
from .coco import Coco
from .cub import Cub, PartPoint, part_locations
from .image_tree import ImageTree
from .layout import Layout
from .part_imagenet import PartImageNet
from .voc import Voc

LAYOUTS: dict[str, type[Layout]] = {layout.kind: layout for layout in (Ade20k, Coco, Cub, ImageTree, PartImageNet, Voc)}
"""The layout of each word before the colon."""

__all__ = [
    "LAYOUTS",
    "Ade20k",
    "Coco",
    "Cub",
    "ImageTree",
    "Layout",
    "PartImageNet",
    "PartPoint",
    "Voc",
    "part_locations",
]
