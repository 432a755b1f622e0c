"""A fitted classifier to a folder and back: which of its attributes lie where in the two files of `head_file`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.errors import InsightError

from .choice import AccuracyPath
from .head_file import model_facts, model_of, read_head, write_head
from .text_head import TextHead

if TYPE_CHECKING:
    from ..model import ConceptModel
    from .classifier import ConceptClassifier


def save_classifier(head: ConceptClassifier, folder: Path, place: str | None) -> None:
    """Write a fitted head; `place`: where its model is."""
    parameters = head.get_params(deep=False)
    parameters.pop("model")
    balance, state = parameters["class_weight"], parameters["random_state"]
    parameters["class_weight"] = [*balance.items()] if isinstance(balance, Mapping) else balance
    parameters["random_state"] = state if isinstance(state, int) else None
    facts = {
        "parameters": {name: _plain(value) for name, value in parameters.items()},
        "classes": head.classes_.tolist(),
        "kind_of_class": "O" if head.classes_.dtype == object else head.classes_.dtype.str,
        "n_features": head.n_features_in_,
        "n_iter": head.n_iter_,
        "converged": bool(head.converged_),
        "alpha": None if np.isinf(head.alpha_) else float(head.alpha_),
        "path": None if head.path_ is None else head.path_.to_dict(),
        "silenced": None if head.text_ is None else [*head.text_.silenced],
        "model": None if head.model is None else model_facts(head.model, place),
    }
    write_head(folder, facts, head.coef_, head.intercept_, None if head.text_ is None else head.text_.vectors)


def load_classifier(
    kind: type[ConceptClassifier], folder: Path, model: ConceptModel | Path | str | None, device: str
) -> ConceptClassifier:
    """Read a head; `model`, `device` as of `ConceptClassifier.load`."""
    stored = read_head(folder)
    facts = stored.facts
    read_model = model_of(folder, facts, model, device)
    try:
        parameters = dict(facts["parameters"])
        balance = parameters["class_weight"]
        parameters["class_weight"] = dict(balance) if isinstance(balance, list) else balance
        parameters["templates"] = tuple(parameters["templates"])
        head = kind(read_model, **parameters)
        head.classes_ = np.array(facts["classes"], dtype=facts["kind_of_class"])
        head.n_features_in_, head.n_iter_, head.converged_ = facts["n_features"], facts["n_iter"], facts["converged"]
        head.alpha_ = float("inf") if facts["alpha"] is None else facts["alpha"]
        head.path_ = None if facts["path"] is None else AccuracyPath.from_dict(facts["path"])
        silenced = facts["silenced"]
    except (KeyError, TypeError, ValueError) as error:
        raise InsightError(f"{folder}/head.json: expected the facts of a head, found others ({error})") from None
    if len(stored.intercept) != (1 if len(head.classes_) == 2 else len(head.classes_)):
        raise InsightError(f"{folder}: head.json and head.safetensors are of different heads; restore them")
    head.coef_, head.intercept_, head.text_ = stored.coef, stored.intercept, None
    if stored.text is not None and read_model is not None:
        text = TextHead.of(read_model.sae, stored.text, head.temperature)
        head.text_ = replace(text, silenced=tuple(silenced or ()))
    return head


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value
