"""Pictures of where a concept stands: cut out of a photograph around one patch, or the whole square, with its map.

In: an `Explorer` and which example is meant. Out: the bytes of a JPEG file and a name that changes when they do.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from sae import SparseCodes

from ..backbones import CentreSquare
from ..edits.shown import shown_codes
from ..examples import Example, crop
from ..render.figure import spotlight
from .explorer import Explorer
from .images import on_grid
from .open_model import OpenModel
from .photos import jpeg
from .refusal import Refusal

CROP, PHOTO = 160, 480
SQUARE = 512
"""Side of the square that a crop is cut out of: a crop of five patches of sixteen then has its pixels."""
SEEN = 640
"""Side of the square that an encoder is shown."""


def example_picture(explorer: Explorer, m: int, concept: int, rank: int, of: str) -> tuple[bytes, str]:
    """An example of a concept as "crop" or "photo". `Refusal` (404) where there is no such example or photograph."""
    opened = explorer.model(m)
    if of not in ("crop", "photo"):
        raise Refusal(f"of: expected crop or photo, found {of[:40]!r}")
    concept = opened.listed.row(concept)["id"]
    examples = opened.examples(concept)
    if not 0 <= rank < len(examples):
        raise Refusal(opened.why_no_pictures or f"expected an example of 0 to {len(examples) - 1}, found {rank}", 404)
    example, members = examples[rank], opened.listed.members(concept)
    status = opened.images.path(example.image).stat()
    mapped = of == "photo" or opened.images.cache is not None
    stand = (status.st_mtime_ns, status.st_size, opened.images.cache is not None)
    key = (of, example.image, example.row, example.column, members, mapped, stand)

    def make() -> bytes:
        side = SQUARE if of == "crop" else PHOTO
        square = opened.images.square(example.image, side).resize((side, side), Image.Resampling.BICUBIC)
        heat = _map(explorer, opened, example, members) if mapped else None
        lit = square if heat is None else spotlight(square, heat / max(float(heat.max()), 1e-12))
        if of == "photo":
            return jpeg(lit)
        return jpeg(crop(lit, CentreSquare(SQUARE), opened.grid, example, CROP))

    return opened.thumbnails.get(key, make)


def dropped_picture(square: Image.Image) -> bytes:
    """A photo that was dropped, as the encoder sees it."""
    return jpeg(square, quality=90)


def _map(explorer: Explorer, opened: OpenModel, example: Example, members: list[int]) -> np.ndarray | None:
    """Where the concepts stand in the photograph: float32 [h, w]; from the cache, or else the encoder looks."""
    found = opened.images.features(example.image)
    if found is not None:
        features, positions = found
        codes = _encode(opened, features)
        return on_grid(_strongest(codes, members), positions, opened.grid)
    with explorer.turns.take():
        encoded = opened.model.encode_photo(opened.images.square(example.image, SEEN))
    return _strongest(encoded.codes, members).reshape(encoded.features.grid)


@torch.no_grad()
def _encode(opened: OpenModel, features: torch.Tensor) -> SparseCodes:
    return opened.model.sae.encode(features.to(opened.model.device)).to("cpu")


def _strongest(codes: SparseCodes, members: list[int]) -> np.ndarray:
    """float32 [n]: on each patch the largest activation of some concepts."""
    shown = torch.full((codes.n_concepts,), -1)
    shown[members] = members[0]
    kept = shown_codes(codes, shown)
    values = torch.zeros(codes.n)
    values[kept.rows()] = kept.activations.float()
    return values.numpy()
