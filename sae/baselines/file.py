"""Dictionaries on disk: a folder of safetensors and JSON, whole or not at all.

An autoencoder's folder is its own (`SparseAutoencoder.save_pretrained`). The others' is `config.json` = {"format":
"insight-dictionary", "format_version": 1, "kind", "settings", "sha256"} and `dictionary.safetensors`. The JSON is
written last and holds the checksum of the tensors, so that a folder whose writing was interrupted is never read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from ..autoencoder import SparseAutoencoder
from ..dictionary import Dictionary
from ..errors import InsightError
from ..files import atomic_write, read_json, write_json
from .kmeans import Centroids
from .nmf import Parts
from .sparse_coding import SparseCoding

FORMAT = "insight-dictionary"
FORMAT_VERSION = 1
_Kind = Centroids | Parts | SparseCoding
_KINDS: dict[str, Callable[..., Dictionary]] = {"kmeans": Centroids, "nmf": Parts, "sparse_coding": SparseCoding}
_TENSORS = {"kmeans": ("directions", "mean"), "nmf": ("parts", "mean"), "sparse_coding": ("directions", "mean")}
_SETTINGS: dict[str, dict[str, type]] = {
    "kmeans": {"k": int},
    "nmf": {"penalty": float},
    "sparse_coding": {"penalty": float, "inputs": str},
}


def save_dictionary(dictionary: _Kind | SparseAutoencoder, folder: Path | str) -> None:
    """Write the folder of a dictionary, which replaces one that is there."""
    if isinstance(dictionary, SparseAutoencoder):
        dictionary.save_pretrained(folder)
        return
    folder, kind = Path(folder), dictionary.kind
    content = save({name: getattr(dictionary, name).cpu().contiguous() for name in _TENSORS[kind]})
    with atomic_write(folder / "dictionary.safetensors") as temporary:
        temporary.write_bytes(content)
    settings = {name: of(getattr(dictionary, name)) for name, of in _SETTINGS[kind].items()}
    checksum = hashlib.sha256(content).hexdigest()
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind}
    write_json(folder / "config.json", {**head, "settings": settings, "sha256": checksum})


def load_dictionary(folder: Path | str) -> Dictionary:
    """Read a folder of any kind, an autoencoder's included.

    `InsightError` names the file that is missing, damaged, half written or of another format.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    if isinstance(config, dict) and config.get("format") == "insight-sae":
        return SparseAutoencoder.from_pretrained(folder)
    kind, settings = _kind_and_settings(config, folder / "config.json")
    path = folder / "dictionary.safetensors"
    if not path.exists():
        raise InsightError(f"{path}: no such file; fit the dictionary again or restore it")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != config.get("sha256"):
        raise InsightError(
            f"{path}: expected the checksum of config.json, found another; it is damaged or half written"
        )
    tensors = load(content)
    return _KINDS[kind](*(tensors[name] for name in _TENSORS[kind]), **settings)


def _kind_and_settings(config: Any, path: Path) -> tuple[str, dict[str, Any]]:
    values = config if isinstance(config, dict) else {}
    found = (values.get("format"), values.get("format_version"))
    if found != (FORMAT, FORMAT_VERSION):
        expected = f'format "{FORMAT}" (or an autoencoder\'s) version {FORMAT_VERSION}'
        raise InsightError(f'{path}: expected {expected}, found "{found[0]}" version {found[1]}')
    if values.get("kind") not in _KINDS:
        raise InsightError(f"{path}: expected a kind of {sorted(_KINDS)}, found {values.get('kind')}")
    kind, settings = values["kind"], values.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    if {name: type(value) for name, value in settings.items()} != _SETTINGS[kind]:
        raise InsightError(f"{path}: expected settings {sorted(_SETTINGS[kind])}, found {settings}")
    return kind, settings
