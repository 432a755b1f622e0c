"""From the evidence of one pass over the codes to the concept graph.

In: `Evidence` and each concept's level. Out: `ConceptGraph`: tested edges, synonyms, kinds, the edges that are direct,
and the pairs that are each other's context. Each step is a file of this room.
"""

from __future__ import annotations

import numpy as np

from sae.errors import InsightError

from ..evidence.evidence import Evidence
from .candidates import tested_edges
from .context import find_context
from .graph import ConceptGraph, require_same_concepts
from .kinds import with_kinds
from .null import MatchedNull
from .published import THRESHOLD
from .reduction import direct_edges
from .synonyms import between_groups, heights, representatives


def build_graph(
    evidence: Evidence,
    levels: np.ndarray,
    *,
    threshold: float = THRESHOLD,
    min_support: int = 20,
    q: float = 0.05,
    min_lift: float = 2.0,
) -> ConceptGraph:
    """The published threshold, less what chance lets through; synonyms merged, kinds told, without cycles.

    `levels` int [m] is the nested prefix each concept belongs to. An edge child -> parent needs Dn > `threshold`; the
    child on at least `min_support` tokens (three of four tokens prove nothing); the parent over the child in
    `min_lift` times as many images as over other concepts of its level and frequency, by more than chance at a false
    discovery rate of `q` over all pairs (`tested_edges`); and a parent more frequent than the child (at a tie, of
    lower id). Mutual edges of one level and like frequency make synonyms (`representatives`). `with_kinds` tells
    kind-of from part-of, `find_context` the pairs that stand side by side.
    """
    check_rules(threshold=threshold, min_support=min_support, q=q, min_lift=min_lift)
    tokens, regions, levels = evidence.tokens, evidence.regions, np.asarray(levels)
    if levels.shape != (tokens.n_concepts,):
        raise InsightError(f"expected a level for each of {tokens.n_concepts} concepts, found shape {levels.shape}")
    require_same_concepts(evidence.exemplars, tokens)
    null = MatchedNull(levels, tokens.frequency)
    edges = tested_edges(tokens, regions, null, threshold=threshold, min_support=min_support, q=q, min_lift=min_lift)
    synonyms = representatives(edges, levels, tokens.frequency)
    edges = between_groups(with_kinds(edges, regions), synonyms, tokens.frequency)
    leading = (tokens.frequency >= max(min_support, 1)) & (synonyms == np.arange(len(synonyms)))
    return ConceptGraph.from_edges(
        edges,
        direct=direct_edges(edges.child, edges.parent, heights(tokens.frequency)),
        frequency=tokens.frequency,
        tokens=tokens.tokens,
        mean_codes=evidence.exemplars.mean_codes(),
        synonyms=synonyms,
        contexts=find_context(regions, null, leading, q=q, min_lift=min_lift),
    )


def check_rules(*, threshold: float, min_support: int, q: float, min_lift: float) -> None:
    """`InsightError` where a rule of `build_graph` is outside its range: ask before a long pass over a cache."""
    if not 0 <= threshold < 1:
        raise InsightError(f"the threshold is a share of the child's activation: expected 0 to 1, found {threshold}")
    if not min_support >= 0:
        raise InsightError(f"the support is a number of tokens: expected at least 0, found {min_support}")
    if not 0 < q < 1:
        raise InsightError(f"q is the share of edges that may be chance: expected between 0 and 1, found {q}")
    if not 0 <= min_lift < float("inf"):
        raise InsightError(f"the lift is a ratio of rates: expected at least 0, found {min_lift}")
