"""Where concepts stand against where labels stand: one pass over masked photographs for all dictionaries and budgets.

In: photographs with the class of every patch, and dictionaries of patches. Out: `Grounded` of each dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.concepts.material import NAMELESS
from benchmarks.heads.dictionaries import Made
from benchmarks.heads.masked import Masked, Photos
from benchmarks.heads.settings import BUDGETS, CHOOSING_PHOTOS, DRAW
from insight.evaluation import Grounding, GroundingMeter
from insight.heads.pooling import pool
from sae.metrics import MonosemanticityMeter


@dataclass(frozen=True)
class Grounded:
    """One dictionary on one set of photographs: grounding by budget; the mean cosine of the image vectors of two
    photographs that a concept is active in, weighted; and concepts active on a patch."""

    made: Made
    by_budget: Mapping[int | None, Grounding]
    monosemanticity: float
    active: float


def as_asked(masked: Masked) -> Masked:
    """The set without labels that name nothing (their patches belong to none), and of its training photographs the
    `CHOOSING_PHOTOS` that concepts of labels are chosen on."""
    few = np.sort(np.random.default_rng(DRAW).permutation(len(masked.train))[:CHOOSING_PHOTOS])
    kept = [i for i, label in enumerate(masked.labels) if label not in NAMELESS]
    place = np.full(len(masked.labels) + 1, -1, dtype=np.int64)  # the last one: void
    place[kept] = np.arange(len(kept))
    parts = (replace(part, classes=place[part.classes]) for part in (masked.train.part(few), masked.test))
    return Masked(masked.name, tuple(masked.labels[i] for i in kept), *parts)


def dealt(photos: Photos) -> Photos:
    """The same photographs with each other's masks: what any dictionary gets without looking."""
    order = np.random.default_rng(DRAW).permutation(len(photos))
    return replace(photos, classes=photos.classes[order], masks=tuple(photos.masks[i] for i in order))


@torch.no_grad()
def ground(
    photos: Photos, labels: Sequence[str], dictionaries: Sequence[Made], budgets: Sequence[int | None] = BUDGETS
) -> list[Grounded]:
    """All dictionaries on all photographs, on the grid of the patches."""
    cache = photos.cache
    meters = [
        {budget: GroundingMeter(made.dictionary.n_concepts, labels, cache.grid, budget=budget) for budget in budgets}
        for made in dictionaries
    ]
    alike = [MonosemanticityMeter(made.dictionary.n_concepts, cache.dim) for made in dictionaries]
    active, whole = np.zeros(len(dictionaries)), cache.pooled().float()
    for places, features in photos.chunks():
        classes = photos.classes[places].reshape(-1, *cache.grid)
        vectors = whole[torch.from_numpy(photos.images[places])]
        for i, made in enumerate(dictionaries):
            codes = made.dictionary.encode(features)
            active[i] += codes.nnz
            alike[i].update(pool(codes, cache.tokens_per_image, "max"), vectors)
            for meter in meters[i].values():
                meter.update(codes, classes)
    found = zip(dictionaries, meters, alike, active / photos.classes.size, strict=True)
    return [
        Grounded(made, {budget: meter.result() for budget, meter in of.items()}, one.result().mean, float(n))
        for made, of, one, n in found
    ]
