"""The concept graph as a Mermaid flowchart: text that GitHub, notebooks and editors draw.

In: `ConceptGraph`. Out: a string. Names may hold anything: what means something to Mermaid is written as its number.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .edges import VERBS
from .export import chosen_edges, plain
from .graph import ConceptGraph, kind_name

SPECIAL = frozenset("\"#&;:<>`\\[](){}|'%*_~$@")
"""Quotes, brackets and what stands for entities, tags, Markdown, comments and formulas in a label."""


def as_mermaid(graph: ConceptGraph, concepts: Iterable[int] | None = None) -> str:
    """`flowchart BT` with a node `c12["beak"]` a concept and an arrow from child to parent, labelled with its kind.

    Direct edges alone, as in lookups. With `concepts`: they, the edges that one of them is an end of, and dotted lines
    between those that are each other's context. Without: every edge, and every concept that has one.
    """
    wanted = None if concepts is None else sorted({int(graph.synonyms[concept]) for concept in concepts})
    rows = chosen_edges(graph, wanted)
    rows = rows[graph.direct[rows]]
    child, parent = graph.child_ids[rows], graph.parent_ids[rows]
    nodes = np.unique(np.concatenate([child, parent, np.array(wanted or [], np.int32)])).tolist()
    lines = ["flowchart BT", *(f'  c{concept}["{label(_names(graph, concept))}"]' for concept in nodes)]
    for low, high, kind in zip(child.tolist(), parent.tolist(), graph.kind[rows].tolist(), strict=True):
        lines.append(f"  c{low} -->|{VERBS[kind_name(kind)]}| c{high}")
    if wanted is not None:
        pairs = graph.contexts.pairs
        lines += [f"  c{one} -.- c{other}" for one, other in pairs[np.isin(pairs, wanted).all(1)].tolist()]
    return "\n".join(lines) + "\n"


def label(title: str) -> str:
    """A title for between the quotes of a Mermaid node: special characters as #35; and the like."""
    return "".join(f"#{ord(character)};" if character in SPECIAL else character for character in plain(title)) or " "


def _names(graph: ConceptGraph, concept: int) -> str:
    return " = ".join(graph.title(other) for other in (concept, *graph.synonyms_of(concept).tolist()))
