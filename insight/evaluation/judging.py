"""One table for all: every explainer on every model, measured in the same way on the same photos and texts.

In: explainers, models, and a stream of photos with what is asked of each (and masks, where known). Out: a stream of
rows, one a pair, explainer and model; `summary` makes means of them. No more than a few photos are held at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae.errors import InsightError

from ..attribution import Explainable, Explainer, Scorer, scorer_of
from ..backbones import Backbone
from .classification import Measured
from .drop_increase import drop_increase
from .insertion_deletion import STEPS, deletion, fidelity, insertion
from .localisation import localise
from .over_images import mean_over_images
from .pairs import BATCH

LOW_IS_GOOD = ("drop", "relative drop", "deletion", "seconds")
"""Of the measures in a row; of the others high is good, and "area" and "centre" are what needs no map."""


class Case(NamedTuple):
    """A photo and the texts it is asked about."""

    image: Float[Tensor, "3 H W"]
    """In [0, 1], of a size that every model takes."""
    texts: tuple[str, ...]
    masks: Bool[Tensor, "T H W"] | None = None
    """Where the things are that the texts name; all False, or None, where that is not known."""
    valid: Bool[Tensor, "H W"] | None = None
    """Which pixels count for the masks (None: all)."""


class Row(NamedTuple):
    """What one explainer says of one pair, by one model."""

    model: str
    explainer: str
    photo: int
    """Its number in the stream."""
    text: str
    measures: Mapping[str, float]
    """By name: "drop", "increase", "relative drop" (`DropIncrease`), "deletion", "insertion" (areas), "fidelity", and
    the measures of `Localisation`, NaN without a mask; "seconds": wall time of the explainer's call, shared evenly by
    the pairs it was called for."""


def judge(
    explainers: Mapping[str, Explainer],
    models: Mapping[str, Explainable | Backbone],
    cases: Iterable[Case],
    *,
    steps: int = STEPS,
    cell: int = 1,
    perturb: bool = True,
    at_once: int = 8,
    batch: int = BATCH,
) -> Iterator[Row]:
    """Rows by photo group, model, explainer, photo and text, in the order these were given.

    Photos that follow one another with the same texts and size are explained together, up to `at_once`; no more are
    held, and `batch` changed photos go through a model at once. The first call of an explainer on a device may be slow;
    ask about one photo before when times matter. steps and cell: of deletion and insertion. perturb: whether the models
    are asked about changed photos; without it rows have the measures of `Localisation` and "seconds" alone. Scores have
    the unit of each model, so explainers compare on one model, and models only by the measures of masks and by
    "fidelity". Whatever an explainer or model raises is raised. `InsightError` for masks that do not fit.
    """
    numbered = enumerate(cases)
    for _, alike in groupby(numbered, key=lambda item: (item[1].texts, item[1].image.shape)):
        group: list[tuple[int, Case]] = []
        for item in alike:
            group.append(item)
            if len(group) == at_once:
                yield from _judged(explainers, models, group, steps if perturb else None, cell, batch)
                group = []
        if group:
            yield from _judged(explainers, models, group, steps if perturb else None, cell, batch)


def summary(rows: Iterable[Row], *, draws: int = 1000, seed: int = 0) -> dict[tuple[str, str], dict[str, Measured]]:
    """By (model, explainer), the mean of each measure over pairs, with 95 % over photos drawn anew."""
    photos: dict[tuple[str, str], list[int]] = {}
    values: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for row in rows:
        photos.setdefault(row[:2], []).append(row.photo)
        values.setdefault(row[:2], []).append(row.measures)
    return {
        key: {
            name: mean_over_images(np.array([of[name] for of in rows_]), np.array(photos[key]), draws=draws, seed=seed)
            for name in rows_[0]
        }
        for key, rows_ in values.items()
    }


def _judged(
    explainers: Mapping[str, Explainer],
    models: Mapping[str, Explainable | Backbone],
    group: list[tuple[int, Case]],
    steps: int | None,
    cell: int,
    batch: int,
) -> Iterator[Row]:
    """Of photos with the same texts and size; without steps the model is not asked again."""
    texts = group[0][1].texts
    images = torch.stack([case.image for _, case in group])
    masks, valid = (torch.stack([one[kind] for one in map(_masks, group)]) for kind in (0, 1))
    for model_name, model in models.items():
        scorer = scorer_of(model, texts)
        for name, explainer in explainers.items():
            start = _now(images.device)
            maps = explainer(model, images, texts)
            seconds = (_now(images.device) - start) / (len(images) * len(texts))
            found = {measure.replace("_", " "): of for measure, of in vars(localise(maps, masks, valid)).items()}
            if steps is not None:
                found |= _of_changes(scorer, images, maps, steps, cell, batch)
            for b, (photo, _) in enumerate(group):
                for t, text in enumerate(texts):
                    measures = {measure: float(of[b, t]) for measure, of in found.items()}
                    yield Row(model_name, name, photo, text, {**measures, "seconds": seconds})


def _of_changes(
    scorer: Scorer, images: Tensor, maps: Tensor, steps: int, cell: int, batch: int
) -> dict[str, np.ndarray]:
    """Float64 [B, T] of each measure that asks the model about changed photos."""
    dimmed = drop_increase(scorer, images, maps, batch=batch)
    return {
        "drop": dimmed.drop,
        "increase": dimmed.increase,
        "relative drop": dimmed.relative_drop,
        "deletion": deletion(scorer, images, maps, steps=steps, cell=cell, batch=batch).area(),
        "insertion": insertion(scorer, images, maps, steps=steps, cell=cell, batch=batch).area(),
        "fidelity": fidelity(scorer, images, maps, batch=batch),
    }


def _masks(item: tuple[int, Case]) -> tuple[Tensor, Tensor]:
    """Masks and which pixels count, bool [T, H, W] each."""
    number, case = item
    shape = (len(case.texts), *case.image.shape[1:])
    masks = torch.zeros(shape, dtype=torch.bool) if case.masks is None else case.masks
    valid = torch.ones(shape[1:], dtype=torch.bool) if case.valid is None else case.valid
    if tuple(masks.shape) != shape or tuple(valid.shape) != shape[1:]:
        found = f"{list(masks.shape)} and {list(valid.shape)}"
        raise InsightError(f"photo {number}: expected masks {list(shape)} and valid {list(shape[1:])}, found {found}")
    return masks.cpu(), valid.cpu().expand(shape)


def _now(device: torch.device) -> float:
    """Seconds, when all that was begun on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
