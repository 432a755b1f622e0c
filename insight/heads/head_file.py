"""A head on disk: `head.json` (what it is, of which model) and `head.safetensors` (its weights). Never pickle.

`head.safetensors`: `values` float64 [nnz], `columns` int32 [nnz], `offsets` int64 [rows + 1] (the rows of coef as CSR),
`intercept` float64 [rows], and with a text `text` float64 [C, d].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from sae.errors import InsightError
from sae.files import atomic_write, read_json, write_json

from ..backbones.base import hash_tensors

if TYPE_CHECKING:
    from ..model import ConceptModel

FORMAT, VERSION = "insight-classifier", 1
_WEIGHTS = "head.safetensors"
_FACTS = "head.json"


@dataclass(frozen=True)
class StoredHead:
    """What the files say. facts: `head.json`; text: vectors of the classes, where the head has them."""

    facts: dict[str, Any]
    coef: np.ndarray
    intercept: np.ndarray
    text: np.ndarray | None


def write_head(
    folder: Path, facts: dict[str, Any], coef: np.ndarray, intercept: np.ndarray, text: np.ndarray | None
) -> None:
    """Write both files, `head.json` last."""
    rows = csr_array(coef)
    arrays = {
        "values": rows.data.astype(np.float64),
        "columns": rows.indices.astype(np.int32),
        "offsets": rows.indptr.astype(np.int64),
        "intercept": intercept.astype(np.float64),
    }
    if text is not None:
        arrays["text"] = np.ascontiguousarray(text, dtype=np.float64)
    with atomic_write(folder / _WEIGHTS) as temporary:
        save_file(arrays, temporary)
    write_json(folder / _FACTS, {"format": FORMAT, "format_version": VERSION, **facts})


def read_head(folder: Path) -> StoredHead:
    """Read both files; `InsightError` names the one that is missing, damaged or something else."""
    if not (folder / _FACTS).exists():
        raise InsightError(
            f"{folder}: expected the folder of a head with {_FACTS}, found none; `insight classify fit` makes one, and"
            " a model classifies with --classes"
        )
    facts = read_json(folder / _FACTS)
    found = (facts.get("format"), facts.get("format_version")) if isinstance(facts, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise InsightError(
            f'{folder / _FACTS}: expected format "{FORMAT}" version {VERSION}, found "{found[0]}" version {found[1]};'
            " read it with the version of this package that wrote it"
        )
    path = folder / _WEIGHTS
    try:
        arrays = load_file(path)
        shape = (len(arrays["intercept"]), int(facts["n_features"]))
        rows = csr_array((arrays["values"], arrays["columns"], arrays["offsets"]), shape=shape)
        rows.check_format(full_check=True)
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; fit the head again or restore it") from None
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InsightError(f"{path}: expected the weights of {_FACTS}, found others ({error}); restore it") from None
    return StoredHead(facts, rows.toarray(), arrays["intercept"], arrays.get("text"))


def model_facts(model: ConceptModel, place: str | None) -> dict[str, Any]:
    """Which model a head is of: where it lay, and what its backbone and its dictionary are."""
    return {
        "place": place,
        "backbone": model.config["backbone"]["name"],
        "fingerprint": model.config["backbone"]["fingerprint"],
        "dictionary": hash_tensors(model.sae.state_dict()),
    }


def model_of(
    folder: Path, facts: dict[str, Any], model: ConceptModel | Path | str | None, device: str = "cpu"
) -> ConceptModel | None:
    """The model of a head: the one given, or the one it remembers; `InsightError` when it is not the very one.

    None for a head of activations alone.
    """
    wanted = facts["model"]
    if wanted is None:
        return None
    from ..model import ConceptModel

    if not isinstance(model, ConceptModel):
        place = model if model is not None else wanted["place"]
        if place is None:
            raise InsightError(f"{folder}: does not say where its model is; give it")
        try:
            model = ConceptModel.from_pretrained(place, device=device)
        except InsightError as error:
            raise InsightError(f"{folder}: its model cannot be read; say where it is by --model: {error}") from None
    found = model_facts(model, None)
    for what in ("fingerprint", "dictionary"):
        if found[what] != wanted[what]:
            raise InsightError(
                f"{folder}: expected the model it was fitted on, with {what} {wanted[what][:12]}, found one with"
                f" {found[what][:12]}; give that model, or fit the head again"
            )
    return model
