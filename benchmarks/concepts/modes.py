"""The modes of naming that are compared, a name and a function each.

In: `Related`, a dictionary with its evidence, and a vocabulary. Out: `Names`, one entry a concept. A new mode is one
more line of `MODES`; nothing else needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from benchmarks.concepts.dictionary import Related
from insight.defaults import PRIOR
from naming import Names, Vocabulary, concept_embeddings, name_concepts

Mode = Callable[[Related, Vocabulary], Names]
TOP = 6
VANILLA, BIAS, PARENTS, SHIPPED, RANDOM = (
    "vanilla",
    "bias",
    "parents",
    "parents, pruned graph, prior",
    "random directions",
)


def vanilla(related: Related, words: Vocabulary) -> Names:
    """Published: the decoder's row."""
    sae = related.sae
    return name_concepts(concept_embeddings(sae.decoder, sae.decoder_bias, related.published, "vanilla"), words, TOP)


def bias(related: Related, words: Vocabulary) -> Names:
    """Published: the concept at its mean strongest activation, decoded with the bias."""
    sae = related.sae
    return name_concepts(concept_embeddings(sae.decoder, sae.decoder_bias, related.published, "bias"), words, TOP)


def parents(related: Related, words: Vocabulary) -> Names:
    """Published: the same with the concept's parents, by the published graph."""
    sae = related.sae
    return name_concepts(concept_embeddings(sae.decoder, sae.decoder_bias, related.published, "parents"), words, TOP)


def shipped(related: Related, words: Vocabulary) -> Names:
    """As `insight name` did it first: parents of the tested graph, and common words before rare ones."""
    sae = related.sae
    embeddings = concept_embeddings(sae.decoder, sae.decoder_bias, related.ours, "parents")
    return name_concepts(embeddings, words, TOP, prior=PRIOR)


def random_directions(related: Related, words: Vocabulary) -> Names:
    """A null: directions that have nothing to do with the concepts."""
    fires = torch.from_numpy(related.published.frequency > 0)
    generator = torch.Generator().manual_seed(related.seed)
    directions = torch.randn(len(fires), related.sae.config.dim, generator=generator)
    return name_concepts(normalize(directions, dim=1) * fires[:, None], words, TOP)


MODES: dict[str, Mode] = {
    VANILLA: vanilla,
    BIAS: bias,
    PARENTS: parents,
    SHIPPED: shipped,
    RANDOM: random_directions,
}
PUBLISHED = (VANILLA, BIAS, PARENTS)
BEST = SHIPPED
"""Ours, chosen on training photographs; claims are made for it."""
