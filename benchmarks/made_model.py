"""A made-up model of any size for benchmarks: random directions, names, relations and examples, and photographs.

The photographs are a few files under many names, so that a folder of 100,000 is there in seconds.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.sparse import csr_array

from insight.concept import Concept, save_concepts
from insight.examples import SCHEMA
from insight.models import model_folder
from naming import ConceptGraph
from naming.relations.edges import Edges
from sae import SaeConfig, SparseAutoencoder
from sae.files import read_json

DIM, GRID, EXAMPLES, PARENTS = 384, 16, 16, 3
LINKS = 10_000
"""Names of one file: file systems allow some ten thousands."""


def make(folder: Path, concepts: int, images: int) -> tuple[Path, Path]:
    """Write a model of `small`'s width and a folder of photographs; returns both places."""
    rng = np.random.default_rng(0)
    model, photos = folder / "made", folder / "photos"
    sae = SparseAutoencoder(SaeConfig(dim=DIM, n_concepts=concepts, k=8))
    with torch.no_grad():
        for rows in (sae.encoder, sae.decoder):
            rows.copy_(torch.nn.functional.normalize(torch.randn(rows.shape), dim=1))
    backbone = read_json(model_folder("small") / "config.json")["backbone"]
    sae.save_pretrained(model, {"backbone": backbone, "images": images, "train": {"steps": 1, "batch_size": 1}})
    graph = _graph(rng, concepts)
    graph.save(model / "relations.npz")
    levels = [sae.level_of(concept) for concept in range(concepts)]
    frequency = graph.frequency.tolist()
    alternatives = ("a second word", "a third word")
    table = [
        Concept(k, int(levels[k]), f"word {k}", alternatives, (0.5, 0.4, 0.3), frequency[k], 0.1, 0.6, 0.5)
        for k in range(concepts)
    ]
    save_concepts(model / "concepts.parquet", table)
    ids = [f"{number // 1000:03d}/{number:06d}.jpg" for number in range(images)]
    _photographs(photos, ids)
    _examples(rng, model / "examples.parquet", concepts, ids)
    return model, photos


def _graph(rng: np.random.Generator, concepts: int) -> ConceptGraph:
    """Each concept belongs to at most `PARENTS` of smaller number."""
    child = np.repeat(np.arange(1, concepts), PARENTS)
    pairs = np.unique(np.column_stack([child, (rng.random(len(child)) * child).astype(np.int64)]), axis=0)
    n = len(pairs)
    edges = Edges(
        child=pairs[:, 0],
        parent=pairs[:, 1],
        weight=rng.uniform(0.75, 1, n),
        lift=rng.uniform(2, 50, n),
        q_value=rng.uniform(0, 0.05, n),
        support=rng.integers(20, 500, n),
        kind=rng.integers(-1, 2, n).astype(np.int8),
        cover=rng.random(n),
        cover_spread=rng.random(n),
    )
    frequency = rng.integers(100, 100_000, concepts)
    nothing = csr_array((concepts, concepts), dtype=np.float32)
    return ConceptGraph.from_edges(
        edges, direct=np.ones(n, bool), frequency=frequency, tokens=10_000_000, mean_codes=nothing
    )


def _photographs(folder: Path, ids: list[str]) -> None:
    for parent in {Path(image).parent for image in ids}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(ids):
        if number % LINKS == 0:
            first = folder / image
            Image.new("RGB", (64, 64), (90, 120, 150)).save(first)
        else:
            os.link(first, folder / image)


def _examples(rng: np.random.Generator, path: Path, concepts: int, ids: list[str]) -> None:
    n = concepts * EXAMPLES
    columns = {
        "concept": np.repeat(np.arange(concepts), EXAMPLES),
        "rank": np.tile(np.arange(EXAMPLES), concepts),
        "image": [ids[place] for place in rng.integers(0, len(ids), n)],
        "row": rng.integers(0, GRID, n),
        "column": rng.integers(0, GRID, n),
        "activation": np.tile(np.linspace(2, 1, EXAMPLES), concepts),
    }
    pq.write_table(pa.table(columns, schema=SCHEMA), path)
