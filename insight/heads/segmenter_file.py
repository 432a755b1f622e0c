"""A trained segmenter on disk: `segmenter.json` (what it is, of which model) and `segmenter.safetensors` (its weights).

`segmenter.safetensors`: `weights` float64 [m, C], `constants` float64 [C] and, of a head that reads what stands around
a patch, `around` float64 [m, C]; see `TokenHead`. Never pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sae.errors import InsightError
from sae.files import atomic_write, read_json, write_json

from .head_file import model_facts, model_of
from .token_head import TokenHead

if TYPE_CHECKING:
    from ..model import ConceptModel
    from .segmenter import ConceptSegmenter

FORMAT, VERSION = "insight-segmenter", 2
SETTINGS = ("background", "size", "window", "stride", "upsampling")
_WEIGHTS = "segmenter.safetensors"
_FACTS = "segmenter.json"


def save_segmenter(segmenter: ConceptSegmenter, folder: Path, place: str | None) -> None:
    """Write both files, `segmenter.json` last; `place`: where its model is."""
    if not segmenter.trained:
        raise InsightError("save: expected a trained segmenter, found one of text, which its classes make again")
    if not isinstance(segmenter.upsampling, str):
        raise InsightError("save: expected an upsampling with a name, found a function; set `upsampling` to 'bilinear'")
    head = segmenter.head
    arrays = {"weights": head.weights, "constants": head.constants, "around": head.around}
    with atomic_write(folder / _WEIGHTS) as temporary:
        known = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
        save_file(known, temporary)
    facts = {
        "format": FORMAT,
        "format_version": VERSION,
        "classes": list(segmenter.classes),
        "settings": {name: getattr(segmenter, name) for name in SETTINGS},
        "model": model_facts(segmenter.model, place),
    }
    write_json(folder / _FACTS, facts)


def load_segmenter(
    kind: type[ConceptSegmenter], folder: Path, model: ConceptModel | Path | str | None, given: dict[str, Any]
) -> ConceptSegmenter:
    """Read a segmenter; `model` and `given` settings as of `ConceptSegmenter.load`."""
    path = folder / _FACTS
    if not path.exists():
        raise InsightError(f"{folder}: expected the folder of a segmenter with {_FACTS}, found none")
    facts = read_json(path)
    found = (facts.get("format"), facts.get("format_version")) if isinstance(facts, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise InsightError(
            f'{path}: expected format "{FORMAT}" version {VERSION}, found "{found[0]}" version {found[1]}; read it with'
            " the version of this package that wrote it"
        )
    try:
        classes, settings = list(facts["classes"]), {name: facts["settings"][name] for name in SETTINGS}
        read_model = model_of(folder, facts, model)
    except (KeyError, TypeError) as error:
        raise InsightError(f"{path}: expected the facts of a segmenter, found others ({error}); restore it") from None
    if read_model is None:
        raise InsightError(f"{path}: does not say of which model it is; restore it")
    segmenter = kind(read_model, classes, **(settings | given))
    segmenter.head = _read_head(folder / _WEIGHTS, read_model.sae.n_concepts, len(classes))
    return segmenter


def _read_head(path: Path, n_concepts: int, n_classes: int) -> TokenHead:
    try:
        arrays = load_file(path)
        weights, constants, around = arrays["weights"], arrays["constants"], arrays.get("around")
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; fit the segmenter again or restore it") from None
    except (SafetensorError, KeyError) as error:
        raise InsightError(f"{path}: expected the weights of a segmenter ({error}); restore it") from None
    shapes = {"weights": (n_concepts, n_classes), "around": (n_concepts, n_classes), "constants": (n_classes,)}
    for name, array in arrays.items():
        if array.shape != shapes.get(name) or array.dtype != np.float64 or not np.isfinite(array).all():
            expected = f"finite float64 {name} {list(shapes[name])}" if name in shapes else f"only {', '.join(shapes)}"
            raise InsightError(
                f"{path}: expected {expected}, found {name} of {array.dtype} {list(array.shape)}; restore it"
            )
    return TokenHead(weights, constants, np.arange(n_classes), around=around)
