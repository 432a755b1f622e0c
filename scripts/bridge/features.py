"""What the frozen trunk and the teacher see of the photos, computed once and kept in a folder.

In: paths of photos. Out: trunk tokens of whole photos; and of several views of each photo (the whole and square crops,
sharp or enlarged from 32 to 64 pixels) the class token, the mean patch and the teacher's logits. The trunk computes in
bfloat16: what is learnt from it does not feel the rounding, and it is three times faster where the processor has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from insight.backbones.base import CentreSquare
from insight.backbones.small.dinov2 import IMAGE_SIZE, MEAN, STD, build_dinov2
from sae.files import atomic_write

from .teacher import Teacher

BATCH = 8
CROPS = 2  # of each photo, beside the whole
CROP_AREA = (0.1, 0.6)  # of the centre square
SMALL = (32, 64)  # sides in pixels that a view is shrunk to before it is enlarged again

Trunk = Callable[[Tensor], Tensor]


def load_trunk() -> Trunk:
    """DINOv2: photos [B, 3, 224, 224] in [0, 1] to tokens [B, 257, 384] after the final norm, class token first."""
    model = build_dinov2().eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))

    def trunk(photos: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            return model.forward_features((photos - mean) / std)

    return trunk


def whole_tokens(files: list[Path], kept: Path) -> Tensor:
    """[n, 257, 384] float16: tokens of the photos' centre squares."""
    square = CentreSquare(IMAGE_SIZE)

    def compute() -> dict[str, Tensor]:
        trunk = load_trunk()
        tokens = torch.empty(len(files), 257, 384, dtype=torch.float16)
        for start in tqdm(range(0, len(files), BATCH), desc=kept.stem, unit="batch"):
            batch = torch.stack([square(_read(file)) for file in files[start : start + BATCH]])
            tokens[start : start + BATCH] = trunk(batch)
        return {"tokens": tokens}

    return _kept(kept, compute)["tokens"]


def views(files: list[Path], seed: int, kept: Path) -> tuple[Tensor, Tensor]:
    """([n, 1 + CROPS, 2, 384] float16, [n, 1 + CROPS, 1000] float16): what image vectors are learnt from, unlabelled.

    View 0 is the whole photo, enlarged from a small one; then come crops, by turns sharp and enlarged. The first tensor
    has class tokens and mean patches, the second the teacher's logits, for which it saw the same view sharp.
    """

    def compute() -> dict[str, Tensor]:
        trunk, teacher = load_trunk(), Teacher()
        square = CentreSquare(IMAGE_SIZE)
        pooled = torch.empty(len(files), 1 + CROPS, 2, 384, dtype=torch.float16)
        logits = torch.empty(len(files), 1 + CROPS, 1000, dtype=torch.float16)
        for i, file in enumerate(tqdm(files, desc=kept.stem, unit="photo")):
            random = torch.Generator().manual_seed(_number(file.name, seed))
            photo = _read(file)
            sharp = [photo, *(_crop(photo, random) for _ in range(CROPS))]
            sides = torch.empty(len(sharp)).uniform_(*SMALL, generator=random).int().tolist()
            seen = [view if j % 2 else _shrunk(view, sides[j]) for j, view in enumerate(sharp)]
            tokens = trunk(torch.stack([square(view) for view in seen]))
            pooled[i] = torch.stack([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1)
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
                logits[i] = teacher(torch.stack([square(view) for view in sharp]))
        return {"pooled": pooled, "logits": logits}

    found = _kept(kept, compute)
    return found["pooled"], found["logits"]


def _kept(path: Path, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    if not path.exists():
        tensors = compute()
        with atomic_write(path) as temporary:
            temporary.write_bytes(save(tensors))
    return load_file(path)


def _number(name: str, seed: int) -> int:
    """A number that depends on the file's name and the seed, not on which other photos there are."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")


def _read(file: Path) -> Image.Image:
    return Image.open(file).convert("RGB")


def _shrunk(photo: Image.Image, side: int) -> Image.Image:
    """The centre square at `side` pixels: what is enlarged from it is blurred as a small photo is."""
    box = CentreSquare(side).box(*photo.size)
    return photo.resize((side, side), Image.Resampling.BICUBIC, box=box)


def _crop(photo: Image.Image, random: torch.Generator) -> Image.Image:
    """A square out of the centre square, its area a share of it drawn from `CROP_AREA`."""
    left, top, right, _ = CentreSquare(IMAGE_SIZE).box(*photo.size)
    share, x, y = torch.rand(3, generator=random).tolist()
    side = (right - left) * (CROP_AREA[0] + share * (CROP_AREA[1] - CROP_AREA[0])) ** 0.5
    left, top = left + x * (right - left - side), top + y * (right - left - side)
    return photo.crop((round(left), round(top), round(left + side), round(top + side)))
