"""A bank of what a dictionary itself finds: the named concepts of a model that speak most for each class.

In: a model and labelled photos, pooled activations, or a cache. Out: a bank, and for each of its descriptors the
concepts of the dictionary that it names, whose maps show where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

from sae.errors import InsightError

from ...concept import Concept
from ...edits.shown import shown_as
from ...heads import ConceptClassifier
from ...heads.activations import as_array, is_activations, labelled, pooled_rows, read_labelled, with_labels
from .concept_bank import ConceptBank
from .phrases import cleaned, same

if TYPE_CHECKING:
    from ...model import ConceptModel


@dataclass(frozen=True)
class ModelBank:
    """bank: classes and their concepts; concept_ids: for each of `bank.concepts` the numbers of the model's concepts
    of that name, those that are shown, smallest first."""

    bank: ConceptBank
    concept_ids: tuple[tuple[int, ...], ...]


def bank_from_model(
    model: ConceptModel, X: Any, y: Any = None, *, k: int = 5, classifier: ConceptClassifier | None = None
) -> ModelBank:
    """At most k names a class: those with the largest mean contribution to its logit over its own photos.

    X, y: as `ConceptClassifier.fit` takes them, or the place of a cache or of any source of labelled photos; photos
    without a label are left out. classifier: a fitted one on this model's concepts (None: one is fitted to X and y).
    Concepts of one name count together, so do those that were merged; hidden ones and those without a name never count,
    nor does a name that speaks against its class. A class with fewer than k names has fewer. `InsightError` for a class
    without any, for a classifier that is not of these classes or this model, and for k below 1.
    """
    if k < 1:
        raise InsightError(f"bank_from_model: expected at least 1 concept a class, found k={k}")
    head = classifier or ConceptClassifier(model)
    if head.model is not None and head.model is not model:
        raise InsightError("classifier: expected one on the concepts of this model, found one of another; fit it anew")
    rows, labels = _rows(model, X, y, head)
    if classifier is None:
        head.fit(rows, labels)
    names = _names(model.concepts)
    spoken = sorted({name for name in names if name is not None}, key=same)
    column = {name: place for place, name in enumerate(spoken)}
    owners = [(number, column[name]) for number, name in enumerate(names) if name is not None]
    by_name = csr_array(
        (np.ones(len(owners)), ([number for number, _ in owners], [place for _, place in owners])),
        shape=(len(names), len(spoken)),
    )
    descriptors = {
        str(name): _strongest(head, rows[labels == name], name, by_name, spoken, k) for name in head.classes_.tolist()
    }
    bank = ConceptBank.of(descriptors, place="bank_from_model")
    found = shown_as(model.concepts).tolist()
    shown = [number for number, target in enumerate(found) if target == number]
    ids = {text: tuple(number for number in shown if names[number] == text) for text in bank.concepts}
    return ModelBank(bank, tuple(ids[text] for text in bank.concepts))


def _rows(model: ConceptModel, X: Any, y: Any, head: ConceptClassifier) -> tuple[csr_array, np.ndarray]:
    """Pooled concepts of the labelled photos, and the class of each."""
    if isinstance(X, str | Path):
        found = read_labelled(str(X), model, head.pooling)
        X, y = found.rows, found.labels if y is None else y
    X, y = with_labels(X, y)
    if y is None:
        raise InsightError("bank_from_model: expected a label for each photo, found none; give y")
    if not is_activations(X):
        X = pooled_rows(X, model, head.pooling)
    X, y, _ = labelled(as_array(X), y, None)
    return csr_array(X), np.asarray(y)


def _names(concepts: Iterable[Concept]) -> list[str | None]:
    """What each concept is called, as the concept that it is shown as; of names that differ by case, the first."""
    concepts = list(concepts)
    written: dict[str, str] = {}
    names: list[str | None] = []
    for target in shown_as(concepts).tolist():
        name = concepts[target].name if target >= 0 else None
        if name is not None:
            name = cleaned(name, f"concept {target}")
            name = written.setdefault(same(name), name)
        names.append(name)
    return names


def _strongest(
    head: ConceptClassifier, rows: csr_array, name: Any, by_name: csr_array, spoken: list[str], k: int
) -> list[str]:
    """The k names that speak most for a class in its photos."""
    if not rows.shape[0]:
        raise InsightError(f"class {name!r}: expected photos of every class of the classifier, found none of this one")
    terms, _ = head.contributions(rows, name)
    if terms.shape[1] != by_name.shape[0]:
        raise InsightError(
            f"classifier: expected one on the model's {by_name.shape[0]} concepts, found {terms.shape[1]}; fit it anew"
        )
    mean: Float64[np.ndarray, " names"] = np.asarray((terms @ by_name).sum(axis=0)).ravel() / rows.shape[0]
    order = np.argsort(-mean, kind="stable")[:k]
    found = [spoken[place] for place in order.tolist() if mean[place] > 0]
    if not found:
        raise InsightError(
            f"class {name!r}: expected a named concept that speaks for it, found none; name the model's concepts"
            " (`insight name`), or fit the classifier with a smaller alpha"
        )
    return found
