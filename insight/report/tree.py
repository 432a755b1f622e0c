"""The concept tree: every concept under the surest of its parents; the others are mentioned.

In: a model's concepts and graph. Out: a `Forest` of what can be shown, and counts of the rest. A graph may have cycles
(`published_graph`): a cycle is entered at its coarsest, most frequent concept, which then stands on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from naming import ConceptGraph
from naming.relations.edges import KINDS, UNTOLD

from ..concept import Concept
from .values import Forest, Node

SHOWN, OF_ONE_TREE, DEEPEST, LISTED = 2000, 500, 16, 100
"""Most concepts that are shown in all trees and in one, levels of one tree, and trees that are listed as counts: a page
of 8,192 concepts must open at once."""


def concept_tree(concepts: Sequence[Concept], graph: ConceptGraph) -> Forest:
    """The largest trees first, and in each the surest children first; broad before deep where not all are shown."""
    nodes = [c.id for c in concepts if c.shown and graph.synonyms[c.id] == c.id and graph.frequency[c.id] > 0]
    nodes.sort(key=lambda concept: (concepts[concept].level, -concepts[concept].frequency, concept))
    parent = _surest_parents(nodes, graph)
    children: dict[int, list[int]] = {concept: [] for concept in nodes}
    for concept, above in parent.items():
        if above is not None:
            children[above].append(concept)
    for over, below in children.items():
        surest_first = sorted((-graph.edge(child, over).weight, child) for child in below)
        children[over] = [child for _, child in surest_first]
    sizes = _sizes(nodes, parent)
    roots = sorted((c for c in nodes if parent[c] is None and children[c]), key=lambda c: (-sizes[c], c))
    trees: list[Node] = []
    room = SHOWN
    for root in roots:
        if room < 2:
            break
        chosen = _chosen(root, children, min(room, OF_ONE_TREE))
        trees.append(_node(root, None, chosen, children, sizes, concepts, graph))
        room -= len(chosen)
    rest = roots[len(trees) :]
    kinds = Counter(graph.kind[graph.direct].tolist())
    names = {**dict(enumerate(KINDS)), UNTOLD: "of no told kind"}
    return Forest(
        trees=tuple(trees),
        n_trees=len(roots),
        n_shown=SHOWN - room,
        n_concepts=sum(sizes[root] for root in roots),
        alone=sum(parent[concept] is None and not children[concept] for concept in nodes),
        sizes=tuple((concepts[root].guessed, sizes[root]) for root in rest[:LISTED]),
        edges={name: kinds.get(kind, 0) for kind, name in names.items()},
        beside=len(graph.contexts.pairs),
    )


def _surest_parents(nodes: Sequence[int], graph: ConceptGraph) -> dict[int, int | None]:
    """A parent for each concept, the surest that is in the tree; None on top and where a cycle is entered."""
    place = {concept: number for number, concept in enumerate(nodes)}
    parent: dict[int, int | None] = {
        concept: next((p for p in graph.parents(concept).tolist() if p in place and p != concept), None)
        for concept in nodes
    }
    settled: set[int] = set()
    for concept in nodes:
        way: dict[int, None] = {}
        here: int | None = concept
        while here is not None and here not in settled and here not in way:
            way[here] = None
            here = parent[here]
        if here is not None and here in way:
            passed = [*way]
            parent[min(passed[passed.index(here) :], key=place.__getitem__)] = None
        settled.update(way)
    return parent


def _sizes(nodes: Sequence[int], parent: dict[int, int | None]) -> dict[int, int]:
    """Concepts in the tree below and including each one, the deepest counted first."""
    size = dict.fromkeys(nodes, 1)
    waiting = Counter(above for above in parent.values() if above is not None)
    free = [concept for concept in nodes if not waiting[concept]]
    while free:
        concept = free.pop()
        above = parent[concept]
        if above is not None:
            size[above] += size[concept]
            waiting[above] -= 1
            if not waiting[above]:
                free.append(above)
    return size


def _chosen(root: int, children: dict[int, list[int]], most: int) -> set[int]:
    """The concepts of one tree that are shown: level by level until there is no more room."""
    chosen, step = {root}, [root]
    for _ in range(DEEPEST):
        step = [child for concept in step for child in children[concept]][: most - len(chosen)]
        chosen.update(step)
        if not step:
            break
    return chosen


def _node(
    concept: int,
    above: int | None,
    chosen: set[int],
    children: dict[int, list[int]],
    sizes: dict[int, int],
    concepts: Sequence[Concept],
    graph: ConceptGraph,
) -> Node:
    entry = concepts[concept]
    kinds = graph.kinds_around(concept)
    others = [other for other in graph.parents(concept).tolist() if other != above]
    return Node(
        id=concept,
        title=entry.guessed,
        named=entry.name is not None,
        confidence=entry.confidence,
        level=entry.level,
        share=float(graph.frequency[concept] / max(graph.tokens, 1)),
        kind=None if above is None else kinds.get(above),
        also=tuple((kinds.get(other), concepts[other].guessed) for other in others),
        same=tuple(concepts[other].guessed for other in graph.synonyms_of(concept).tolist() if concepts[other].shown),
        below=sizes[concept] - 1,
        children=tuple(
            _node(child, concept, chosen, children, sizes, concepts, graph)
            for child in children[concept]
            if child in chosen
        ),
        edited=entry.edited,
    )
