"""From an encoded photo and a head to why the head decides as it does: its concepts weighed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae import SparseCodes

from ..edits.shown import shown_codes
from .class_explanation import ClassExplanation, Contribution, Term
from .head import Head, class_rows, predicted
from .pooling import Pooling, pool

if TYPE_CHECKING:
    from ..concept import Concept
    from ..model import ConceptModel, EncodedPhoto


def explain_photo(
    model: ConceptModel,
    head: Head,
    pooling: Pooling,
    classes: np.ndarray,
    photo: EncodedPhoto,
    target: int | None,
) -> ClassExplanation:
    """The explanation of class number `target` (None: the one that is predicted)."""
    codes, grid = photo.codes, photo.features.grid
    used, values, weights, intercept = head.of_photo(pool(codes, codes.n, pooling).to_scipy())
    concept = used % head.n_concepts
    shown = np.array([_target(entry) for entry in model.concepts])
    active, place = np.unique(shown[concept], return_inverse=True)
    terms = values * weights  # [rows, a]
    effects = np.zeros((len(active), len(intercept)))
    np.add.at(effects, place, terms.T)

    number = int(predicted((effects.sum(0) + intercept)[None])[0]) if target is None else target
    row, sign = (int(part[0]) for part in class_rows(np.array([number]), len(intercept)))
    names = pooling.split("+")
    maps = _maps(codes, shown, active, grid)
    contributions = []
    for k in np.argsort(-np.abs(effects[:, row]), kind="stable"):
        mine = [i for i in np.flatnonzero(place == k) if weights[row, i]]
        if not mine:
            continue
        parts = tuple(
            Term(int(concept[i]), names[used[i] // head.n_concepts], float(values[i]), float(sign * weights[row, i]))
            for i in mine
        )
        entry = model.concepts[active[k]]
        contributions.append(
            Contribution(
                id=entry.id,
                title=_title(entry),
                guessed=_number(entry) if entry.hidden else entry.guessed,
                contribution=float(sign * effects[k, row]),
                activation=float(maps[k].max()),
                terms=parts,
                map=maps[k],
                edited=entry.edited,
            )
        )
    return ClassExplanation(
        image=photo.source,
        classes=tuple(classes.tolist()),
        target=classes.tolist()[number],
        contributions=tuple(contributions),
        intercept=float(sign * intercept[row]),
        grid=grid,
        photo=photo.view,
        active=tuple(active.tolist()),
        titles=tuple(_title(model.concepts[i]) for i in active),
        effects=effects,
        base=np.asarray(intercept),
        backbone=model.config["backbone"]["name"],
        description=model.config["backbone"]["description"],
    )


def _target(concept: Concept) -> int:
    """The concept it counts as: the one it was merged into, or itself, hidden or not."""
    return concept.id if concept.merged_into is None else concept.merged_into


def _title(concept: Concept) -> str:
    return _number(concept) if concept.hidden else concept.title


def _number(concept: Concept) -> str:
    return f"concept {concept.id}"


def _maps(codes: SparseCodes, shown: np.ndarray, active: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """float32 [k, h, w]: of each active concept the largest activation of those that count as it."""
    import torch

    counted = shown_codes(codes, torch.from_numpy(shown))
    columns = counted.to_scipy().tocsc()[:, active]
    return columns.toarray().T.reshape(len(active), *grid)
