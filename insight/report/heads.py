"""A head as a table: its classes, how many concepts each uses, the strongest of them, its held-out accuracy.

In: the folder of a classifier or a segmenter, and the model it is of. Out: a `HeadTable`. Nothing is measured anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sae.errors import InsightError
from sae.files import read_json

from ..edits.shown import shown_as
from .values import HeadClass, HeadTable, Weight

if TYPE_CHECKING:
    from ..model import ConceptModel

STRONGEST = 6
"""Concepts listed for a class, and as many against it."""


def head_table(folder: Path, model: ConceptModel) -> HeadTable:
    """Read a head; `InsightError` for a folder that holds none, or one that was fitted on another model."""
    if (folder / "head.json").is_file():
        return _classifier(folder, model)
    if (folder / "segmenter.json").is_file():
        return _segmenter(folder, model)
    raise InsightError(
        f"{folder}: expected the folder of a head (head.json of `insight classify fit`, or segmenter.json), found"
        f" {'a folder without' if folder.is_dir() else 'no such folder'}"
    )


def _classifier(folder: Path, model: ConceptModel) -> HeadTable:
    from ..heads import ConceptClassifier

    head = ConceptClassifier.load(folder, model)
    n_concepts = head.n_features_in_ // (2 if head.pooling == "max+mean" else 1)
    titles = _titles(model) if head.model is not None else [f"concept {i}" for i in range(n_concepts)]
    coef, features = head.coef_, ["max", "mean"] if head.pooling == "max+mean" else [str(head.pooling)]
    by_text = head.text_ is not None and not coef.any()
    if head.text_ is not None and by_text:
        coef, features = head.text_.weights.T, ["text"]
    rows = np.vstack([-coef, coef]) if len(coef) == 1 else coef  # of two classes one row, which is the second's
    facts = {"made": _made(folder, by_text), "pooling": str(head.pooling)}
    if np.isfinite(head.alpha_):
        facts["penalty"] = f"{head.alpha_:.3g}"
    path = head.path_
    return HeadTable(
        place=folder.name,
        kind="classifier",
        facts=facts,
        accuracy=None if path is None else float(path.accuracy[path.chosen]),
        standard_error=None if path is None else float(path.standard_error[path.chosen]),
        held_out=None if path is None else int(path.images),
        concepts=_used(rows, n_concepts),
        classes=tuple(
            _class(str(name), row, features, n_concepts, titles) for name, row in zip(head.classes_.tolist(), rows)
        ),
    )


def _segmenter(folder: Path, model: ConceptModel) -> HeadTable:
    from ..heads import ConceptSegmenter

    head = ConceptSegmenter.load(folder, model).head
    parts, features = [head.weights.T], ["patch"]
    if head.around is not None:
        parts, features = [*parts, head.around.T], ["patch", "around"]
    rows = np.hstack(parts)
    settings = read_json(folder / "segmenter.json")
    facts = {"made": "trained on patches with classes"}
    if settings["settings"]["background"] is not None:
        facts["background"] = f"below a probability of {settings['settings']['background']}"
    titles = _titles(model)
    return HeadTable(
        place=folder.name,
        kind="segmenter",
        facts=facts,
        accuracy=None,
        standard_error=None,
        held_out=None,
        concepts=_used(rows, head.n_concepts),
        classes=tuple(
            _class(str(name), row, features, head.n_concepts, titles) for name, row in zip(settings["classes"], rows)
        ),
    )


def _made(folder: Path, by_text: bool) -> str:
    if by_text:
        return "by the names of its classes alone; weights are for a photo whose reconstruction has length 1"
    prior = read_json(folder / "head.json")["parameters"].get("prior")
    few = "fitted on images, to begin with the names of the classes; weights are what the images added"
    return few if prior == "text" else "fitted on images"


def _class(
    name: str, row: np.ndarray, features: Sequence[str], n_concepts: int, titles: Sequence[str]
) -> HeadClass:
    order = np.argsort(-np.abs(row), kind="stable")
    order = order[row[order] != 0]
    found = [
        Weight(int(i % n_concepts), titles[i % n_concepts], features[i // n_concepts], float(row[i]))
        for i in (*order[row[order] > 0][:STRONGEST], *order[row[order] < 0][:STRONGEST])
    ]
    return HeadClass(
        name=name,
        concepts=len(np.unique(order % n_concepts)),
        strongest_for=tuple(weight for weight in found if weight.weight > 0),
        strongest_against=tuple(weight for weight in found if weight.weight < 0),
    )


def _used(rows: np.ndarray, n_concepts: int) -> int:
    return int((rows != 0).any(0).reshape(-1, n_concepts).any(0).sum())


def _titles(model: ConceptModel) -> list[str]:
    """What each concept is shown as; one that is hidden by an edit keeps its number."""
    shown = shown_as(model.concepts).tolist()
    return [f"concept {i} (hidden)" if at < 0 else model.concepts[at].guessed for i, at in enumerate(shown)]
