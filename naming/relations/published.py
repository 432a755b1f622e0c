"""The concept graph as published: a threshold on one conditional probability, and no more."""

from __future__ import annotations

import numpy as np

from ..evidence.cooccurrence import Cooccurrence
from ..evidence.exemplars import Exemplars
from .candidates import contained_pairs
from .edges import Edges
from .graph import ConceptGraph, require_same_concepts

THRESHOLD = 0.75
"""Published in the naming script: the parent is there for three quarters of the child."""


def published_graph(cooccurrence: Cooccurrence, exemplars: Exemplars, *, threshold: float = THRESHOLD) -> ConceptGraph:
    """Every pair with Dn > `threshold`, as published: no support asked for, mutual edges both ways, cycles and all.

    Edges have no kind and no evidence but their weight; there are no synonyms and no context pairs.
    """
    require_same_concepts(exemplars, cooccurrence)
    edges = Edges.unmeasured(*contained_pairs(cooccurrence, threshold))
    return ConceptGraph.from_edges(
        edges,
        direct=np.ones(len(edges), bool),
        frequency=cooccurrence.frequency,
        tokens=cooccurrence.tokens,
        mean_codes=exemplars.mean_codes(),
    )
