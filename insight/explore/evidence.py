"""Why one concept is a relative of another, as one short sentence a relative."""

from __future__ import annotations

import math

from naming import ConceptGraph
from naming.relations.graph import Edge


def edge_sentence(edge: Edge) -> str:
    """What was measured of an edge; of one that a person drew, that nothing was."""
    if math.isnan(edge.lift):
        return "A person said so, nothing was measured." if edge.weight == 1 else "Taken over, nothing was measured."
    return (
        f"{edge.weight:.0%} of its activation stands on the parent, in {edge.support:,} photographs;"
        f" {_times(edge.lift)} as often as concepts like it ({_discovery(edge.q_value)})."
    )


def context_sentence(graph: ConceptGraph, concept: int, other: int) -> str:
    """What was measured of two concepts that stand beside each other."""
    a, b = int(graph.synonyms[concept]), int(graph.synonyms[other])
    pairs = graph.contexts.pairs
    rows = ((pairs[:, 0] == min(a, b)) & (pairs[:, 1] == max(a, b))).nonzero()[0]
    if not len(rows):
        return "They stand beside each other."
    row = int(rows[0])
    here, there = graph.contexts.beside[row].tolist() if a < b else graph.contexts.beside[row][::-1].tolist()
    return (
        f"{here:.0%} of its regions lie beside the other's, {there:.0%} the other way round;"
        f" {_times(float(graph.contexts.lift[row]))} as often as chance has it"
        f" ({_discovery(float(graph.contexts.q_value[row]))})."
    )


SYNONYM = "Both fire on nearly the same patches."


def _times(lift: float) -> str:
    return f"{lift:.1f} times" if lift < 10 else f"{lift:,.0f} times"


def _discovery(q: float) -> str:
    return "q below 0.001" if q < 0.001 else f"q {q:.3f}"
