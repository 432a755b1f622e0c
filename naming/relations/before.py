"""Until `insight relate` gathers `Evidence`: the graph from co-occurrence alone."""

from __future__ import annotations

import numpy as np

from ..evidence.cooccurrence import Cooccurrence
from ..evidence.exemplars import Exemplars
from .candidates import contained_pairs
from .edges import Edges
from .graph import ConceptGraph, require_same_concepts
from .reduction import direct_edges
from .synonyms import heights


def build_graph(
    cooccurrence: Cooccurrence,
    exemplars: Exemplars,
    *,
    threshold: float = 0.75,
    min_support: int = 20,
    min_lift: float = 2.0,
) -> ConceptGraph:
    """Edges of Dn > `threshold`, enough support and lift, toward the more frequent."""
    require_same_concepts(exemplars, cooccurrence)
    child, parent, weight = contained_pairs(cooccurrence, threshold)
    frequency = cooccurrence.frequency
    height = heights(frequency)
    lift = weight * cooccurrence.tokens / frequency[parent]
    keep = (height[parent] > height[child]) & (frequency[child] >= min_support) & (lift >= min_lift)
    edges = Edges.unmeasured(*(np.asarray(part[keep]) for part in (child, parent, weight)))
    return ConceptGraph.from_edges(
        edges,
        direct=direct_edges(edges.child, edges.parent, height),
        frequency=frequency,
        tokens=cooccurrence.tokens,
        mean_codes=exemplars.mean_codes(),
    )
