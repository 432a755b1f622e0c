"""Photos for training CLIP-DINOiser's convolutions: which are taken, and squares out of them with their saliency."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from insight.data import BadImage, ImageFolder, decode
from sae.errors import InsightError


@dataclass(frozen=True)
class Drawn:
    """Photos by their ids in `folder`: those to train on, those held out, and those that cannot be decoded."""

    folder: ImageFolder
    saliency: Path | None
    training: list[str]
    held_out: list[str]
    bad: list[str]

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of what the photos are called and which are held out."""
        return sha256(json.dumps([self.training, self.held_out]).encode()).hexdigest()


def draw(folder: ImageFolder, saliency: Path | None, count: int, held_out: int, seed: int) -> Drawn:
    """`held_out` photos and up to `count` others, drawn with the seed; a bad one gives way to the next.

    Bad is what cannot be decoded, and with maps also a photo whose map is not there or cannot be decoded.
    `InsightError` when no photo is left to train on.
    """
    ids, good, bad = folder.ids(), [], []
    wanted = count + held_out
    order = np.random.default_rng(seed).permutation(len(ids))
    for id in tqdm([ids[i] for i in order], desc="looking at photos", unit="photo"):
        try:
            folder.load(id)
            if saliency:
                decode(_map_of(saliency, id))
            good.append(id)
        except BadImage as error:
            bad.append(str(error))
        if len(good) == wanted:
            break
    if len(good) <= held_out:
        first = f", such as {bad[0]}" if bad else ""
        raise InsightError(
            f"{folder.path}: expected more than the {held_out} photos that are held out, found {len(good)} good"
            f" and {len(bad)} bad ones{first}"
        )
    return Drawn(folder, saliency, good[held_out:], good[:held_out], bad)


def _map_of(saliency: Path, id: str) -> Path:
    return saliency / PurePosixPath(id).with_suffix(".png")


def square(image: Image.Image, size: int, rng: np.random.Generator | None) -> tuple[Image.Image, tuple[float, ...]]:
    """The photo with a short side of `size`, and a square in it (left, top, right, bottom): drawn, or the centre."""
    scale = size / min(image.size)
    resized = image.resize([max(size, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
    spare = [side - size for side in resized.size]
    left, top = [int(rng.integers(room + 1)) for room in spare] if rng else [room // 2 for room in spare]
    return resized, (left, top, left + size, top + size)


def example(
    drawn: Drawn, id: str, size: int, grid: tuple[int, int], rng: np.random.Generator | None, brightness: float = 0
) -> tuple[Tensor, Tensor | None]:
    """A photo [3, size, size] in [0, 1] and, where there are maps, whether its patches are of an object [h*w].

    With a generator its place, side and brightness are drawn; without one it is the centre as it is.
    """
    resized, box = square(drawn.folder.load(id), size, rng)
    crops = [resized.crop(box)]
    if drawn.saliency:
        shown = decode(_map_of(drawn.saliency, id)).convert("L").resize(resized.size, Image.Resampling.BILINEAR)
        crops.append(shown.crop(box))
    if rng and rng.random() < 0.5:
        crops = [ImageOps.mirror(crop) for crop in crops]
    photo = torch.from_numpy(np.array(crops[0])).permute(2, 0, 1).float() / 255
    if rng:
        photo = (photo * rng.uniform(1 - brightness, 1 + brightness)).clamp(0, 1)
    if not drawn.saliency:
        return photo, None
    cells = np.asarray(crops[1].resize(grid[::-1], Image.Resampling.BOX), dtype=np.float32)
    return photo, torch.from_numpy(cells.flatten() > 127.5)
