"""Checkpoints of saev (OSU-NLP-Group/saev): one line of JSON, then a state dict of `torch.save`.

The line tells the activation: {"schema": 2 to 5, "cfg": {"activation": {"cls", "params"}}}; schema 1 has that, or the
class in "cls" and its "top_k" in "cfg"; without a schema it is a ReLU (PyPI's saev 0.1.0). Arrays: W_enc [d, m], b_enc,
W_dec [m, d], b_dec and, for BatchTopK since 2025-11, activation.threshold.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..autoencoder import SparseAutoencoder
from ..errors import InsightError
from .parts import Parts
from .reading import Checkpoint, read_torch, whole_number

_NEWEST_SCHEMA = 5
_LONGEST_HEADER = 2**20


def load_saev(path: Path | str) -> SparseAutoencoder:
    """Import a checkpoint file. The codes are those of `encode` in evaluation mode.

    b_dec is subtracted before encoding for files without a schema and of schema 1, as saev did when it wrote them (its
    loader of today no longer does); from schema 2 on it is not. saev's TopK keeps negative values when a token has
    fewer than k positive ones; ours keeps the positive ones. The k of ReLU autoencoders is unknown: n_concepts.
    """
    path = Path(path)
    if not path.is_file():
        raise InsightError(f"{path}: no such file")
    with path.open("rb") as file:
        header = _header(path, file.readline(_LONGEST_HEADER))
        checkpoint = Checkpoint(path, read_torch(path, file))
    schema = header.get("schema", 0)
    if schema not in range(_NEWEST_SCHEMA + 1):
        raise InsightError(f"{path}: expected a schema of at most {_NEWEST_SCHEMA}, found {schema!r}")
    activation, settings = _activation(path, header)
    encoder = checkpoint.take("W_enc", None, None).T
    m, d = encoder.shape
    decoder = checkpoint.take("W_dec", m, d)
    parts = Parts(encoder, decoder, checkpoint.take("b_enc", m), checkpoint.take("b_dec", d))
    if schema >= 2:
        parts = parts.without_pre_bias()
    if activation == "Relu":
        sae = parts.build(path, "relu")
    elif activation in ("TopK", "BatchTopK"):
        k = whole_number(path, "top_k", settings.get("top_k"))
        if activation == "TopK":
            sae = parts.build(path, "topk", min(k, m))
        else:
            sae = _with_threshold(checkpoint, parts).build(path, "batch_topk", k)
    else:
        raise InsightError(f"{path}: expected activation Relu, TopK or BatchTopK, found {activation!r}")
    checkpoint.finish()
    return sae


def _with_threshold(checkpoint: Checkpoint, parts: Parts) -> Parts:
    if "activation.threshold" not in checkpoint:
        raise InsightError(
            f"{checkpoint.path}: expected activation.threshold, without which BatchTopK depends on the batch; it was "
            "written before saev measured one: run saev of today on some batches in training mode and save again"
        )
    return replace(parts, threshold=checkpoint.take("activation.threshold"))


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:  # not JSON, or not text
        header = None
    if not isinstance(header, dict):
        raise InsightError(f"{path}: expected a first line of JSON, as saev writes it, found {line[:40]!r}")
    return header


def _activation(path: Path, header: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and settings of the activation."""
    if "schema" not in header:
        return "Relu", {}
    settings = header.get("cfg")
    if isinstance(settings, dict) and isinstance(settings.get("activation"), dict):
        activation = settings["activation"]
        name, settings = activation.get("cls"), activation.get("params")
    else:
        name = header.get("cls")
    if not isinstance(name, str) or not isinstance(settings, dict):
        raise InsightError(f"{path}: expected an activation in the header, found {sorted(header)}")
    return name, settings
