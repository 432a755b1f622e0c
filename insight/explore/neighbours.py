"""What stands around a concept: its relatives as lists, and as a small graph to walk.

In: a `ConceptList`. Out: plain values ready for JSON. Hidden concepts are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .concept_list import ConceptList
from .evidence import SYNONYM, context_sentence, edge_sentence
from .refusal import Refusal

MOST = 200
SHARES = {"parent": 0.4, "child": 0.7, "context": 0.85}
"""Of the places of a graph, those that are taken once these were put in; the last are for synonyms and grandparents."""


def relatives(listed: ConceptList, concept: int, most: int = 100) -> dict[str, list[dict[str, Any]]]:
    """Parents, children, context and synonyms of a concept, the surest first, at most so many each, with evidence."""
    graph = listed.relations
    kinds = graph.kinds_around(concept)

    def told(others: Iterable[int], sentence: Any) -> list[dict[str, Any]]:
        shown = [other for other in others if listed.is_listed(other)][:most]
        return [
            {
                "id": other,
                "name": listed.rows[other]["name"],
                "named": listed.rows[other]["named"],
                "guessed": listed.rows[other]["guessed"],
                "kind": kinds.get(other),
                "evidence": sentence(other),
            }
            for other in shown
        ]

    return {
        "parents": told(graph.parents(concept).tolist(), lambda other: edge_sentence(graph.edge(concept, other))),
        "children": told(graph.children(concept).tolist(), lambda other: edge_sentence(graph.edge(other, concept))),
        "context": told(graph.context(concept).tolist(), lambda other: context_sentence(graph, concept, other)),
        "synonyms": told(graph.synonyms_of(concept).tolist(), lambda other: SYNONYM),
    }


def around(listed: ConceptList, concept: int, limit: int) -> dict[str, Any]:
    """The graph around a concept: at most `limit` nodes with their role, the edges between them, what was left out.

    An edge has a child, a parent, a kind ("kind-of", "part-of", None, "context", "synonym") and its evidence.
    """
    if not 2 <= limit <= MOST:
        raise Refusal(f"limit: expected 2 to {MOST}, found {limit}")
    graph, centre = listed.relations, listed.row(concept)["id"]
    roles: dict[int, str] = {centre: "self"}
    more = {}
    for role, others in (("parent", graph.parents), ("child", graph.children), ("context", graph.context)):
        found = [other for other in others(centre).tolist() if listed.is_listed(other) and other not in roles]
        taken = found[: max(0, round(SHARES[role] * (limit - 1)) + 1 - len(roles))]
        more[{"parent": "parents", "child": "children"}.get(role, role)] = len(found) - len(taken)
        roles |= dict.fromkeys(taken, role)
    above = [g for parent, role in [*roles.items()] if role == "parent" for g in graph.parents(parent).tolist()]
    for role, last in (("synonym", graph.synonyms_of(centre).tolist()), ("grandparent", above)):
        for other in last:
            if len(roles) < limit and other not in roles and listed.is_listed(other):
                roles[other] = role
    return {
        "centre": centre,
        "nodes": [listed.rows[other] | {"role": role} for other, role in roles.items()],
        "edges": _edges(listed, centre, roles),
        "more": more,
    }


def _edges(listed: ConceptList, centre: int, roles: dict[int, str]) -> list[dict[str, Any]]:
    graph = listed.relations
    edges = []
    for child, role in roles.items():
        if role in ("context", "synonym"):
            evidence = SYNONYM if role == "synonym" else context_sentence(graph, centre, child)
            edges.append({"child": child, "parent": centre, "kind": role, "evidence": evidence})
        if role == "synonym":
            continue  # its edges are those of the one that stands for it
        for parent in graph.parents(child).tolist():
            if parent in roles and roles[parent] != "synonym":
                edge = graph.edge(child, parent)
                evidence = edge_sentence(edge)
                edges.append({"child": child, "parent": parent, "kind": edge.kind, "evidence": evidence})
    return edges
