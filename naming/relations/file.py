"""`relations.npz`: a concept graph as plain arrays, read without pickle and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from sae.errors import InsightError

from ..npz import read_npz, write_npz
from .context import ContextPairs
from .graph import ConceptGraph

FORMAT = 2
EDGES = {
    "parents": "parent_ids",
    "weights": "weights",
    "direct": "direct",
    "kind": "kind",
    "lift": "lift",
    "q_value": "q_value",
    "support": "support",
    "cover": "cover",
    "cover_spread": "cover_spread",
}
"""Arrays of one value an edge: their name in the file, and in the graph."""
CONCEPTS = ["frequency", "synonyms"]
CONTEXT = {"context_pairs": "pairs", "context_beside": "beside", "context_lift": "lift", "context_q_value": "q_value"}
MEAN_CODES = ["mean_offsets", "mean_concepts", "mean_activations"]
REMEDY = "make it again by `insight relate MODEL CACHE`"


def write_relations(graph: ConceptGraph, path: Path | str) -> None:
    """Write the graph's arrays (`parents` for `parent_ids`), context pairs as `context_*`, and the mean codes as CSR.

    The latter are `mean_offsets`, `mean_concepts` and `mean_activations`; `format_version` is 2. Titles are not kept.
    """
    mean = [graph.mean_codes.indptr, graph.mean_codes.indices, graph.mean_codes.data]
    write_npz(
        path,
        {
            "format_version": np.array(FORMAT),
            "tokens": np.array(graph.tokens),
            "offsets": graph.offsets,
            **{name: getattr(graph, attribute) for name, attribute in EDGES.items()},
            **{name: getattr(graph, name) for name in CONCEPTS},
            **{name: getattr(graph.contexts, attribute) for name, attribute in CONTEXT.items()},
            **dict(zip(MEAN_CODES, mean, strict=True)),
        },
    )


def read_relations(path: Path | str) -> ConceptGraph:
    """Read what `write_relations` wrote; `InsightError` when it is missing, older, damaged or at odds with itself."""
    read_npz(path, ["offsets"], REMEDY)
    version = read_npz(path, ["format_version"], f"it is of an earlier version; {REMEDY}")["format_version"]
    if version.shape or version != FORMAT:
        raise InsightError(f"{path}: expected relations of format {FORMAT}, found {version}; {REMEDY}")
    arrays = read_npz(path, ["tokens", "offsets", *EDGES, *CONCEPTS, *CONTEXT, *MEAN_CODES], REMEDY)
    m = len(arrays["frequency"])
    try:
        mean_codes = _matrix(arrays, *MEAN_CODES, m=m)
        _matrix(arrays, "offsets", "parents", "weights", m=m)
        _check(arrays, m)
    except ValueError as error:
        raise InsightError(f"{path}: expected relations of {m} concepts, found {error}; {REMEDY}") from None
    columns: dict[str, Any] = {attribute: arrays[name] for name, attribute in EDGES.items()}
    return ConceptGraph(
        **columns,
        offsets=arrays["offsets"],
        frequency=arrays["frequency"],
        synonyms=arrays["synonyms"],
        contexts=ContextPairs(**{attribute: arrays[name] for name, attribute in CONTEXT.items()}),
        tokens=int(arrays["tokens"]),
        mean_codes=mean_codes,
    )


def _matrix(arrays: dict[str, np.ndarray], offsets: str, columns: str, values: str, *, m: int) -> csr_array:
    matrix = csr_array((arrays[values], arrays[columns], arrays[offsets]), shape=(m, m))
    matrix.check_format()
    return matrix


def _check(arrays: dict[str, np.ndarray], m: int) -> None:
    """`ValueError` where lengths differ or ids point nowhere."""
    for names, length in ((EDGES, len(arrays["parents"])), (CONTEXT, len(arrays["context_pairs"])), (CONCEPTS, m)):
        for name in names:
            if len(arrays[name]) != length:
                raise ValueError(f"{len(arrays[name])} values of {name} where {length} were expected")
    if arrays["context_pairs"].shape != arrays["context_beside"].shape or arrays["context_pairs"].shape[1:] != (2,):
        raise ValueError(f"context pairs of shape {arrays['context_pairs'].shape}")
    for name in ("synonyms", "context_pairs"):
        if arrays[name].size and not 0 <= arrays[name].min() <= arrays[name].max() < m:
            raise ValueError(f"{name} beyond them")
    if not np.array_equal(arrays["synonyms"][arrays["synonyms"]], arrays["synonyms"]):
        raise ValueError("synonyms whose representative has another one")
    if arrays["kind"].size and not -1 <= arrays["kind"].min() <= arrays["kind"].max() <= 1:
        raise ValueError("kinds of edges that there are not")
