"""Photographs with masks as cases: each with the labels that stand in it, as texts, and where they stand.

In: `Masked`. Out: `Case`s of a draw of its test photographs, in the square that the backbone sees.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.concepts.material import NAMELESS
from benchmarks.heads.masked import Masked
from benchmarks.heads.settings import SIDE
from insight.backbones import CentreSquare
from insight.data.decode import decode
from insight.evaluation import Case

LEAST, MOST = 0.02, 0.6
"""Share of the square that a label takes to be asked for: there is something to find, and something to miss."""
TEXTS = 4
"""Labels a photograph, the largest."""
TEMPLATE = "a photo of a {}"
UNKNOWN = 255


def cases_of(masked: Masked, count: int, seed: int) -> list[Case]:
    """Up to `count` test photographs, drawn with a seed, that have a label to ask for."""
    photos = masked.test
    ids = photos.cache.index["id"].to_pylist()
    root = photos.cache.folder.parent / f"photos-{photos.cache.folder.name.removeprefix('cache-')}"
    transform, found = CentreSquare(SIDE), []
    for place in np.random.default_rng(seed).permutation(len(photos)).tolist():
        pixels = photos.pixels(place)
        known = pixels != UNKNOWN
        share = {
            name: float((pixels == number).sum() / pixels.numel())
            for number, name in enumerate(masked.labels)
            if name not in NAMELESS
        }
        asked = sorted((name for name in share if LEAST <= share[name] <= MOST), key=lambda name: -share[name])[:TEXTS]
        if not asked:
            continue
        image = transform(decode(root / ids[int(photos.images[place])]))
        masks = torch.stack([pixels == masked.labels.index(name) for name in asked])
        found.append(Case(image, tuple(TEMPLATE.format(name) for name in asked), masks, known))
        if len(found) == count:
            break
    return found
