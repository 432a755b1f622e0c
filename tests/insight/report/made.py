"""Models made up for tests of reports: folders with levels, measures of training, random names and relations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, eye_array

from insight.concept import Concept, save_concepts
from naming import ConceptGraph
from naming.relations.edges import Edges
from sae import SaeConfig, SparseAutoencoder

from ..random_models import GRID

FINGERPRINT = "ab" * 32
BACKBONE = {"name": "pixels", "fingerprint": FINGERPRINT, "description": "made up", "grid": list(GRID), "dim": 48}
TRAIN = {"steps": 10, "batch_size": 16}


def quality(rng: np.random.Generator, levels: int) -> dict[str, Any]:
    """Measures as training writes them."""
    fvu = np.sort(rng.uniform(0.1, 0.9, levels))[::-1].tolist()
    return {"fvu": fvu, "cosine": 0.9, "l0": 3.5, "dead": 0.1, "dense": 0.2, "density": [0] * 30 + [7, 5]}


def graph_of(rng: np.random.Generator, child: np.ndarray, parent: np.ndarray, m: int) -> ConceptGraph:
    """A graph of these edges, all direct, with other weights and a random kind each; a tenth of the concepts silent."""
    frequency = rng.integers(1, 900, m)
    frequency[rng.random(m) < 0.1] = 0
    edges = Edges(
        child=child,
        parent=parent,
        weight=rng.permutation(np.linspace(0.76, 0.99, len(child))),
        lift=np.full(len(child), 3.0),
        q_value=np.full(len(child), 0.01),
        support=np.full(len(child), 30),
        kind=rng.integers(-1, 2, len(child)).astype(np.int8),
        cover=np.full(len(child), 0.5),
        cover_spread=np.full(len(child), 0.1),
    )
    return ConceptGraph.from_edges(
        edges,
        direct=np.ones(len(child), bool),
        frequency=frequency,
        tokens=1000,
        mean_codes=csr_array(eye_array(m, dtype=np.float32)),
    )


def random_edges(rng: np.random.Generator, m: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Different pairs, the child's number above the parent's: without cycles."""
    pairs = np.unique(np.sort(rng.integers(0, m, (count, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return pairs[:, 1].astype(np.int64), pairs[:, 0].astype(np.int64)


def concepts_of(rng: np.random.Generator, sae: SparseAutoencoder, graph: ConceptGraph, word: str) -> list[Concept]:
    """Half of them called "WORD 3", half numbers with guesses; confidences above 0.5 and below it."""
    sure = rng.random(graph.n_concepts)
    return [
        Concept(
            id=i,
            level=int(sae.level_of(i)),
            name=f"{word} {i}" if sure[i] >= 0.5 else None,
            alternatives=(f"{word} guess {i}",),
            scores=(0.5, 0.25) if sure[i] >= 0.5 else (0.25,),
            frequency=int(graph.frequency[i]),
            threshold=0.0,
            confidence=float(sure[i]),
            stability=0.75,
        )
        for i in range(graph.n_concepts)
    ]


def write_model(
    folder: Path,
    rng: np.random.Generator,
    *,
    m: int = 40,
    edges: Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]] = random_edges,
    word: str = "word",
    config: dict[str, Any] | None = None,
) -> None:
    """A related and named model of m concepts on two levels, without examples; `config` replaces entries of its own."""
    sae = SparseAutoencoder(SaeConfig(dim=48, n_concepts=m, k=4, fractions=(0.25, 0.75)))
    with torch.no_grad():
        for rows in (sae.encoder, sae.decoder):
            rows.copy_(torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal(rows.shape)).float(), dim=1))
    entries = {"backbone": BACKBONE, "train": TRAIN, "images": 5, "quality": quality(rng, 2)}
    entries["names"] = {"vocabulary": "made up", "phrases": 9, "mode": "regions", "min_confidence": 0.5}
    sae.save_pretrained(folder, {key: value for key, value in (entries | (config or {})).items() if value is not None})
    graph = graph_of(rng, *edges(rng, m, 2 * m), m)
    graph.save(folder / "relations.npz")
    save_concepts(folder / "concepts.parquet", concepts_of(rng, sae, graph, word))
