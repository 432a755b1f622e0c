"""The JSON of COCO's form: images, categories, and regions of images or segments of panoptic ones.

A file is read once; of an annotation only the image, the category and the packed outline are kept, already while the
file is parsed. What is held is then about 1.3 times the file, 0.6 GB for the 118,000 training images of COCO, and not
the several GB of their JSON as objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sae.errors import InsightError

from .layout import plain_path
from .regions import Region, shape_of


@dataclass
class Picture:
    """An image of the file. segments: the category of each segment of a panoptic PNG, None where it has none."""

    height: int
    width: int
    regions: list[Region] = field(default_factory=list)
    segments: dict[int, int] | None = None
    segments_file: str = ""


class Annotations(NamedTuple):
    """What a file says: the name of each category by its id, ids rising; the images by their file names, sorted."""

    categories: dict[int, str]
    pictures: dict[str, Picture]


class _Annotation(NamedTuple):
    """An annotation of regions, packed."""

    image: Any
    category: Any
    shape: Any


def read_annotations(path: Path) -> Annotations:
    """Read a JSON file of instances or of panoptic segments; `InsightError` says where it is not of that form."""

    def keep(value: dict[str, Any]) -> Any:
        """What is kept of an object of the file, as soon as it is parsed."""
        if "segmentation" not in value:
            return value
        try:
            shape = shape_of(value["segmentation"])
        except (ValueError, TypeError, OverflowError) as error:
            raise _wrong(path, f"annotation {value.get('id')!a}", error) from None
        return _Annotation(value.get("image_id"), value.get("category_id"), shape)

    try:
        with path.open(encoding="utf-8") as file:
            held = json.load(file, object_hook=keep)
    except InsightError:
        raise
    except OSError as error:
        raise InsightError(f"{path}: expected annotations of COCO's form, cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "the file", error) from None
    try:
        return _checked(path, held)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InsightError):
            raise
        raise _wrong(path, "an entry", f"{type(error).__name__}: {error}") from None


def _checked(path: Path, held: dict[str, Any]) -> Annotations:
    categories = _by_id(path, "category", held["categories"], lambda entry: str(entry["name"]))
    if len(set(categories.values())) < len(categories) or "" in categories.values():
        raise _wrong(path, "categories", "names that are empty or come twice")
    names = _by_id(path, "image", held["images"], lambda entry: plain_path(entry["file_name"], str(path)))
    if len(set(names.values())) < len(names):
        raise _wrong(path, "images", "a file_name that comes twice")
    pictures = {entry["id"]: Picture(_side(entry["height"]), _side(entry["width"])) for entry in held["images"]}
    for annotation in held["annotations"]:
        if isinstance(annotation, _Annotation):
            _known(path, "image", annotation.image, pictures)
            _known(path, "category", annotation.category, categories)
            pictures[annotation.image].regions.append(Region(annotation.category, annotation.shape))
        elif "segments_info" in annotation:
            picture = pictures[_known(path, "image", annotation["image_id"], pictures)]
            picture.segments_file = plain_path(annotation["file_name"], str(path))
            picture.segments = {
                int(segment["id"]): _known(path, "category", segment["category_id"], categories)
                for segment in annotation["segments_info"]
            }
        else:  # an object with a box alone
            _known(path, "image", annotation["image_id"], pictures)
    return Annotations(categories, {names[id]: pictures[id] for id in sorted(names, key=names.__getitem__)})


def _by_id(path: Path, what: str, entries: list[dict[str, Any]], value: Callable[[dict[str, Any]], str]) -> dict:
    """Entries by their ids, in rising order."""
    found = {entry["id"]: value(entry) for entry in entries}
    if len(found) < len(entries):
        raise _wrong(path, what, "an id that comes twice")
    return dict(sorted(found.items()))


def _known(path: Path, what: str, id: Any, known: dict[Any, Any]) -> Any:
    if id not in known:
        raise InsightError(f"{path}: expected annotations of its own {what} ids, found {what} {ascii(id)[:40]}")
    return id


def _side(pixels: Any) -> int:
    if type(pixels) is not int or pixels < 1:
        raise ValueError(f"a side of {pixels!a} pixels")
    return pixels


def _wrong(path: Path, what: str, found: object) -> InsightError:
    said = (str(found).splitlines() or [""])[0][:160]
    return InsightError(f"{path}: expected annotations of COCO's form; {what}: {said}; fetch the file again")
