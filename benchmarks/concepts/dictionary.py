"""Dictionaries to name: trained once for each seed, with the evidence of their training photographs in two halves.

In: the cache of the training photographs and `Asked`. Out: `Dictionary`. Models and evidence are kept in a folder and
not made again; graphs and the codes of the photographs asked about are made each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.concepts.material import Asked
from insight.cache import FeatureCache
from insight.pipeline import train_dictionary
from naming import ConceptGraph, Evidence, build_graph, published_graph
from sae import SparseAutoencoder, SparseCodes

FEWEST = 20
"""Patches that a concept must fire on to be asked whether its name lasts."""


@dataclass(frozen=True)
class Related:
    """A dictionary, the evidence of some photographs, and the graphs that follow from it."""

    seed: int
    sae: SparseAutoencoder
    levels: np.ndarray
    """int64 [m]."""
    evidence: Evidence
    published: ConceptGraph
    ours: ConceptGraph

    @classmethod
    def of(cls, seed: int, sae: SparseAutoencoder, evidence: Evidence) -> Related:
        levels = np.array([int(sae.level_of(concept)) for concept in range(sae.config.n_concepts)])
        published = published_graph(evidence.tokens, evidence.exemplars)
        return cls(seed, sae, levels, evidence, published, build_graph(evidence, levels))


@dataclass(frozen=True)
class Dictionary:
    """What is named: by the evidence of all training photographs, and by that of two halves of them."""

    whole: Related
    halves: tuple[Related, Related]
    asked: Evidence
    """Evidence of the photographs asked about."""
    codes: SparseCodes
    """Of the photographs asked about, `tokens_per_image` rows each."""

    @property
    def lasting(self) -> np.ndarray:
        """int64: concepts that fire on `FEWEST` patches of either half at least."""
        fewest = np.minimum(*(half.published.frequency for half in self.halves))
        return np.flatnonzero(fewest >= FEWEST)


def make_dictionary(
    folder: Path, cache: FeatureCache, asked: Asked, seed: int, *, concepts: int | None, steps: int | None
) -> Dictionary:
    """Train (by the pipeline's own settings unless told otherwise), look at the training photographs, and at those
    asked about."""
    model = folder / f"seed-{seed}"
    sae = train_dictionary(cache, model, concepts=concepts, steps=steps, seed=seed).eval()
    kept = [model / "evidence-even", model / "evidence-odd"]
    if all((path / "evidence.json").exists() for path in kept):
        halves = [Evidence.load(path) for path in kept]
    else:
        images = np.arange(cache.n_images)
        halves = look(sae, cache, [images[::2], images[1::2]])
        for half, path in zip(halves, kept, strict=True):
            half.save(path)
    whole = Evidence.load(kept[0])
    whole.merge(halves[1])
    return Dictionary(
        Related.of(seed, sae, whole),
        (Related.of(seed, sae, halves[0]), Related.of(seed, sae, halves[1])),
        look(sae, asked.cache, [asked.images])[0],
        encode(sae, asked.cache, asked.images),
    )


@torch.no_grad()
def look(sae: SparseAutoencoder, cache: FeatureCache, groups: Sequence[np.ndarray]) -> list[Evidence]:
    """The evidence of each group of images (ascending numbers), by one pass over the cache.

    Images are numbered anew, through one group after the other, so that the evidence of groups can be merged.
    """
    found = [Evidence(sae.config.n_concepts, cache.grid, cache.dim) for _ in groups]
    first = np.cumsum([0, *(len(group) for group in groups)])
    for start, features in cache.scan():
        start //= cache.tokens_per_image
        stop = start + len(features) // cache.tokens_per_image
        for evidence, group, number in zip(found, groups, first[:-1], strict=True):
            begin, end = np.searchsorted(group, [start, stop])
            if begin < end:
                rows = features.unflatten(0, (stop - start, -1))[torch.from_numpy(group[begin:end] - start)].flatten(
                    0, 1
                )
                evidence.update(sae.encode(rows), rows, int(number + begin))
    return found


@torch.no_grad()
def encode(sae: SparseAutoencoder, cache: FeatureCache, images: np.ndarray) -> SparseCodes:
    """Codes of these images (ascending numbers), whole images one after the other."""
    parts = []
    for start, features in cache.scan():
        start //= cache.tokens_per_image
        of_image = features.unflatten(0, (-1, cache.tokens_per_image))
        here = images[(start <= images) & (images < start + len(of_image))]
        if len(here):
            parts.append(sae.encode(of_image[torch.from_numpy(here - start)].flatten(0, 1)))
    return SparseCodes.cat(parts)
