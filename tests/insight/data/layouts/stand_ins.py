"""Tiny stand-ins of the standard sets: folders and files as the sets have them, with pictures of a few pixels.

Colours depend on the class, so that a model can learn from them; masks are returned or stated, to be compared with.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = ((220, 60, 50), (50, 190, 70), (60, 80, 220), (230, 210, 60), (190, 70, 200), (70, 210, 210))


def photo(path: Path, classes: np.ndarray, seed: int = 0) -> None:
    """A photograph in which every class [H, W] has its colour, with some noise."""
    noise = np.random.default_rng(seed).integers(-25, 26, (*classes.shape, 3))
    pixels = np.array(COLOURS)[classes % len(COLOURS)] + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def numbers(path: Path, values: np.ndarray, palette: bool = False) -> None:
    """A PNG of numbers, with a palette if wanted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if palette:
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(path)


def text(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())
    return path


def halves(side: int, *classes: int) -> np.ndarray:
    """int [side, side]: upright stripes of the classes, of equal width."""
    return np.repeat(np.array(classes), side // len(classes))[None].repeat(side, 0)


def image_tree(root: Path, classes: Sequence[str], train: int, val: int, side: int = 32) -> Path:
    """ROOT/{train,val}/CLASS/*.jpg, a colour a class."""
    for split, count in (("train", train), ("val", val)):
        for colour, name in enumerate(classes):
            for number in range(count):
                seed = 10_000 * colour + 100 * number + len(split)
                photo(root / split / name / f"{name}_{number}.jpg", np.full((side, side), colour), seed)
    return root


def ade20k(root: Path, train: int, val: int, side: int = 32) -> Path:
    """ADEChallengeData2016 with walls (1) and skies (3) side by side, and a border of void."""
    scenes = []
    for split, short, count in (("training", "train", train), ("validation", "val", val)):
        for number in range(1, count + 1):
            name = f"ADE_{short}_{number:08d}"
            classes = halves(side, *((1, 3) if number % 2 else (3, 1)))
            photo(root / "images" / split / f"{name}.jpg", classes, number)
            classes[0] = 0
            numbers(root / "annotations" / split / f"{name}.png", classes)
            scenes.append(f"{name} {'living_room' if number % 2 else 'street'}")
    text(root / "sceneCategories.txt", *scenes)
    return root


def coco_json(
    path: Path, images: Mapping[int, tuple[str, int, int]], categories: Mapping[int, str], **rest: Any
) -> Path:
    """A JSON file of COCO's form. images: file name, height, width of each id; rest: `annotations` and what else."""
    value = {
        "info": {"year": 2017},
        "licenses": [{"id": 1, "name": "none"}],
        "images": [{"id": id, "file_name": n, "height": h, "width": w} for id, (n, h, w) in images.items()],
        "categories": [{"id": id, "name": name, "supercategory": "all"} for id, name in categories.items()],
        **rest,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def part_imagenet(root: Path, splits: Mapping[str, int], side: int = 32) -> Path:
    """PartImageNet of one class a split, the left half of every image the head and the right the body."""
    parts = {0: "Quadruped Head", 1: "Quadruped Body"}
    for split, count in splits.items():
        images, annotations = {}, []
        for number in range(count):
            name = f"n02084071_{split}{number}.JPEG"
            photo(root / "images" / split / name, halves(side, 0, 1), number)
            images[number] = (name, side, side)
            half = side / 2
            for part, x in ((0, 0.0), (1, half)):
                box = [x, 0.0, x + half, 0.0, x + half, float(side), x, float(side)]
                ids = {"id": 2 * number + part, "image_id": number, "category_id": part}
                annotations.append({**ids, "segmentation": [box], "area": half * side, "iscrowd": 0})
        coco_json(root / "annotations" / split / f"{split}.json", images, parts, annotations=annotations)
    return root
