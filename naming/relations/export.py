"""The concept graph for other tools: networkx and GraphML (Gephi, yEd, Cytoscape, igraph read it).

In: `ConceptGraph`. Out: a `networkx.DiGraph`, or a file. Names may hold anything: what XML cannot carry is left out.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sae.files import atomic_write

from .graph import ConceptGraph

if TYPE_CHECKING:
    import networkx


def chosen_edges(graph: ConceptGraph, concepts: Iterable[int] | None) -> np.ndarray:
    """Rows of the edge arrays with one of `concepts` (or its representative) at either end; None: all rows."""
    if concepts is None:
        return np.arange(len(graph.parent_ids))
    wanted = np.zeros(graph.n_concepts, bool)
    wanted[graph.synonyms[np.fromiter(concepts, np.int64)]] = True
    return np.flatnonzero(wanted[graph.child_ids] | wanted[graph.parent_ids])


def as_networkx(graph: ConceptGraph, concepts: Iterable[int] | None = None) -> networkx.DiGraph:
    """Concepts as nodes with `title`, `frequency` and `synonyms` (titles, "; " between them); edges child -> parent.

    Edges have the values of `Edge`, those that are not known left out, and a `kind` always ("in" where none was
    told). Without `concepts`: every concept that fires. With them: they, and every edge that one of them is an end of.
    Context pairs are not in it: they have no direction.
    """
    import networkx

    concepts = None if concepts is None else list(concepts)
    found = networkx.DiGraph()
    rows = chosen_edges(graph, concepts)
    nodes = np.flatnonzero(graph.frequency > 0) if concepts is None else np.array(concepts, np.int64)
    for concept in np.unique(np.concatenate([nodes, graph.child_ids[rows], graph.parent_ids[rows]])).tolist():
        names = "; ".join(plain(graph.title(other)) for other in graph.synonyms_of(concept).tolist())
        title, frequency = plain(graph.title(concept)), int(graph.frequency[concept])
        found.add_node(concept, title=title, frequency=frequency, synonyms=names)
    for row in rows.tolist():
        edge = asdict(graph.edge_at(row))
        edge["kind"] = edge["kind"] or "in"
        child, parent = edge.pop("child"), edge.pop("parent")
        known = {name: value for name, value in edge.items() if not (isinstance(value, float) and math.isnan(value))}
        found.add_edge(child, parent, **known)
    return found


def write_graphml(graph: ConceptGraph, path: Path | str, concepts: Iterable[int] | None = None) -> None:
    """Write `as_networkx` as GraphML, whole or not at all."""
    import networkx

    with atomic_write(path) as temporary:
        networkx.write_graphml_xml(as_networkx(graph, concepts), temporary)


def plain(title: str) -> str:
    """A title that XML and one line of text can hold: white space as single spaces, no control or broken characters.

    XML 1.0 (§2.2) has no control characters, surrogates, U+FFFE and U+FFFF. Everything else stays as it is; marks that
    set the direction of text stay too, closed at the end so that they do not turn what stands behind.
    """
    kept = "".join(c for c in " ".join(title.split()) if unicodedata.category(c) not in ("Cc", "Cs") and not _none(c))
    return kept + _closing(kept)


def _none(character: str) -> bool:
    """Whether Unicode says that this will never be a character (U+FDD0 … U+FDEF, and the last two of each plane)."""
    return ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF


def _closing(text: str) -> str:
    """The marks that end what directional marks of `text` have left open."""
    open_marks: list[str] = []
    for character in text:
        if character in "\u202a\u202b\u202d\u202e":  # embedding and override, closed by POP DIRECTIONAL FORMATTING
            open_marks.append("\u202c")
        elif character in "\u2066\u2067\u2068":  # isolates, closed by POP DIRECTIONAL ISOLATE
            open_marks.append("\u2069")
        elif open_marks and character == open_marks[-1]:
            open_marks.pop()
    return "".join(reversed(open_marks))
