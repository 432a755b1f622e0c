"""The modes of naming that are compared, a name and a function each.

In: `Related`, a dictionary with its evidence, and a vocabulary. Out: `Named`, what the mode calls each concept, and how
sure it is where it says so. A new mode is one more line of `MODES`; nothing else needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from benchmarks.concepts.dictionary import Related
from insight.defaults import PRIOR
from naming import (
    ConceptGraph,
    Confidence,
    Names,
    Vocabulary,
    concept_embeddings,
    name_concepts,
    name_signals,
    region_embeddings,
)
from naming import Mode as Published


@dataclass(frozen=True)
class Named:
    """Names, and for each concept the chance of being right that the mode claims (float64 [m]), if it does."""

    names: Names
    believed: np.ndarray | None = None


Mode = Callable[[Related, Vocabulary], Named]
TOP = 6
VANILLA, BIAS, PARENTS = "vanilla", "bias", "parents"
PRUNED, REGIONS, OURS = "parents, our graph, prior", "regions", "regions, prior"
RANDOM = "random directions"


def published(mode: Published) -> Mode:
    """As published: by the decoder, with the published graph, and cosines alone."""

    def name(related: Related, words: Vocabulary) -> Named:
        return Named(name_concepts(_decoded(related, related.published, mode), words, TOP))

    return name


def pruned(related: Related, words: Vocabulary) -> Named:
    """The published mode with the tested graph, and common words before rare ones."""
    return Named(name_concepts(_decoded(related, related.ours, "parents"), words, TOP, prior=PRIOR))


def regions(related: Related, words: Vocabulary) -> Named:
    """By what stands where the concept does: the mean feature of its patches."""
    return Named(name_concepts(region_embeddings(related.evidence.features), words, TOP))


def ours(related: Related, words: Vocabulary) -> Named:
    """As `insight name` does it: regions, common words before rare ones, and a confidence."""
    embeddings = region_embeddings(related.evidence.features)
    names = name_concepts(embeddings, words, TOP, prior=PRIOR)
    signals = name_signals(embeddings, names, words, _decoded(related, related.ours, "parents"), prior=PRIOR)
    return Named(names, Confidence.load()(signals))


def random_directions(related: Related, words: Vocabulary) -> Named:
    """A null: directions that have nothing to do with the concepts."""
    fires = torch.from_numpy(related.published.frequency > 0)
    generator = torch.Generator().manual_seed(related.seed)
    directions = torch.randn(len(fires), related.sae.config.dim, generator=generator)
    return Named(name_concepts(normalize(directions, dim=1) * fires[:, None], words, TOP))


MODES: dict[str, Mode] = {
    VANILLA: published("vanilla"),
    BIAS: published("bias"),
    PARENTS: published("parents"),
    PRUNED: pruned,
    REGIONS: regions,
    OURS: ours,
    RANDOM: random_directions,
}
PUBLISHED = (VANILLA, BIAS, PARENTS)
BEST = OURS
"""Chosen on training photographs; claims are made for it."""


def _decoded(related: Related, graph: ConceptGraph, mode: Published) -> torch.Tensor:
    return concept_embeddings(related.sae.decoder, related.sae.decoder_bias, graph, mode)
