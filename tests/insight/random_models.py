"""Models made up for tests: fresh random weights, names and relations in a folder, and a backbone without any.

A patch's vector is its 4 × 4 × 3 pixels, a concept's activation ReLU of an affine function of it; so a map can be
compared with pixels, and directions are far apart (two random ones of 48 dimensions have a cosine of 0.9 never).
"""

import hashlib
from pathlib import Path

import networkx as nx
import numpy as np
import torch
from scipy.sparse import csr_array, eye_array
from torch import Tensor

from insight.backbones import Backbone, DenseFeatures
from insight.concept import Concept, save_concepts
from naming import ConceptGraph
from naming.relations.edges import Edges
from sae import SaeConfig, SparseAutoencoder

DIM, CONCEPTS, GRID = 48, 24, (4, 4)


class Pixels(Backbone):
    """4 × 4 patches of 4 × 4 pixels; a text's vector is drawn from its hash."""

    name, description, dim, patch, image_size, grid, depth, fingerprint = "pixels", "", DIM, 4, 16, GRID, 0, "none"
    has_text = True

    def encode_image(self, images: Tensor) -> DenseFeatures:
        self.check_images(images)
        patches = torch.nn.functional.pixel_unshuffle(images, 4).flatten(2).mT
        return DenseFeatures(patches, patches.mean(1), self.grid_for(images))

    def encode_text(self, texts: list[str]) -> Tensor:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        drawn = np.stack([np.random.default_rng(seed).standard_normal(DIM) for seed in seeds])
        return torch.nn.functional.normalize(torch.from_numpy(drawn).float(), dim=1)


def random_dictionary(rng: np.random.Generator) -> SparseAutoencoder:
    """An autoencoder with random rows; about half of its concepts fire on a patch."""
    sae = SparseAutoencoder(SaeConfig(dim=DIM, n_concepts=CONCEPTS, k=4, fractions=(1.0,), selection="relu"))
    with torch.no_grad():
        for rows in (sae.encoder, sae.decoder):
            rows.copy_(torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal(rows.shape)).float(), dim=1))
        sae.decoder_bias.fill_(0.5)
    return sae


def random_graph(rng: np.random.Generator, density: float = 0.15) -> ConceptGraph:
    """Relations without cycles, every value of the evidence another.

    With any, 2 belongs to 1 and 1 to 0, while nothing leads from one to another of the last three concepts.
    """
    there = np.tril(rng.random((CONCEPTS, CONCEPTS)) < density, k=-1)
    there[[1, 2], [0, 1]] = density > 0
    there[-3:, -3:] = False
    child, parent = np.nonzero(there)
    n = len(child)
    reduced = nx.transitive_reduction(nx.DiGraph(zip(child.tolist(), parent.tolist(), strict=True)))
    edges = Edges(
        child=child,
        parent=parent,
        weight=rng.permutation(np.linspace(0.76, 0.99, n)),
        lift=rng.uniform(2, 50, n),
        q_value=rng.uniform(0, 0.05, n),
        support=rng.integers(5, 500, n),
        kind=rng.integers(-1, 2, n).astype(np.int8),
        cover=rng.random(n),
        cover_spread=rng.random(n),
    )
    return ConceptGraph.from_edges(
        edges,
        direct=np.array([reduced.has_edge(*pair) for pair in zip(child.tolist(), parent.tolist(), strict=True)], bool),
        frequency=rng.permutation(np.arange(100, 100 + CONCEPTS)),
        tokens=10_000,
        mean_codes=csr_array(eye_array(CONCEPTS, dtype=np.float32)),
    )


def write_model(folder: Path, sae: SparseAutoencoder, graph: ConceptGraph, *, word: str = "word") -> None:
    """Write all of a model's folder but its examples: concept i is called "word i", or "word i b", or "word i c"."""
    config = {"backbone": {"name": "pixels", "fingerprint": "none", "description": "", "grid": list(GRID)}}
    sae.save_pretrained(folder, config)
    graph.save(folder / "relations.npz")
    concepts = [
        Concept(i, 0, f"{word} {i}", (f"{word} {i} b", f"{word} {i} c"), (0.75, 0.5, 0.25), int(count), 0.0, 0.5, 0.5)
        for i, count in enumerate(graph.frequency)
    ]
    save_concepts(folder / "concepts.parquet", concepts)
