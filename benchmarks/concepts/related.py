"""Whether edges are right on photographs that they were not found on: by masks, by co-occurrence, by names.

In: a dictionary's graphs, its concepts' reference labels, its codes of the photographs asked about, and names. Out: for
each graph, kind of edge and judge the verdicts, each beside what another parent of like frequency would be expected to
give (`naming.metrics.edges`); and rows of precision, chance and their ratio over several dictionaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from benchmarks.concepts.dictionary import Dictionary
from benchmarks.concepts.draws import Draws, interval, ratio, share
from benchmarks.concepts.material import Masked
from benchmarks.concepts.references import Labelled, rows_of
from benchmarks.concepts.rows import BOTH, Row
from naming import ConceptGraph, Judge, Names, WordNet, by_containment, by_names, edge_precision
from naming.relations.published import THRESHOLD
from sae import SparseCodes

PUBLISHED_GRAPH, OUR_GRAPH = "published graph", "our graph"
ALL, KIND_OF, PART_OF = "all edges", "kind-of", "part-of"
KINDS: dict[str, int | None] = {ALL: None, KIND_OF: 0, PART_OF: 1}
"""Kinds of edges, and how `ConceptGraph.kind` says them."""
KIND_BY_MASKS, PART_BY_MASKS = "kind-of by masks", "part-of by masks"
KIND_BY_NAMES, PART_BY_NAMES = "hypernyms of names", "meronyms of names"
WORDS, PHOTOS = "WordNet", "held-out photographs"
HELD, HELD_BY = "found again", "activation on the parent's"
INSIDE, COVERED = 0.75, 0.5
"""A part stands on the whole with three of four patches, and leaves half of the whole's patches bare."""
FEWEST = 20


@dataclass(frozen=True)
class Verdicts:
    """Of edges that could be judged: the parent of each, whether it is right, and what chance would give."""

    edges: int
    """Edges of this graph and kind, judged or not."""
    parent: np.ndarray
    right: np.ndarray
    chance: np.ndarray


Key = tuple[str, str, str, str]
"""Graph, kind of edge, judge, and the photographs or words that it judges by."""


def judge_edges(
    dictionary: Dictionary, masked: Sequence[Masked], labelled: Sequence[Labelled], names: Names
) -> dict[Key, Verdicts]:
    """The verdicts on both graphs; those by masks by both data sets together, and by each alone."""
    wordnet = WordNet.load()
    first = [phrases[0] if phrases else None for phrases in names.phrases]
    held_by = by_containment(dictionary.asked.tokens)
    held = Judge(lambda child, parent: held_by.right(child, parent) > THRESHOLD, held_by.children, held_by.parents)
    kinds = {some.data: kinds_by_masks(some, wordnet) for some in labelled}
    parts = {some.data: parts_by_masks(dictionary.codes, one, some) for one, some in zip(masked, labelled, strict=True)}
    judges: dict[tuple[str, str], list[Judge]] = {
        (KIND_BY_MASKS, BOTH): list(kinds.values()),
        (PART_BY_MASKS, BOTH): list(parts.values()),
        **{(KIND_BY_MASKS, data): [judge] for data, judge in kinds.items()},
        **{(PART_BY_MASKS, data): [judge] for data, judge in parts.items()},
        (KIND_BY_NAMES, WORDS): [by_names(first, wordnet.is_kind_of)],
        (PART_BY_NAMES, WORDS): [by_names(first, wordnet.is_part_of)],
        (HELD, PHOTOS): [held],
        (HELD_BY, PHOTOS): [held_by],
    }
    graphs = {PUBLISHED_GRAPH: dictionary.whole.published, OUR_GRAPH: dictionary.whole.ours}
    return {
        (graph, kind, *judge): _verdicts(edges, number, some, dictionary.whole.levels)
        for graph, edges in graphs.items()
        for kind, number in KINDS.items()
        if number is None or graph == OUR_GRAPH
        for judge, some in judges.items()
    }


def kinds_by_masks(labelled: Labelled, wordnet: WordNet) -> Judge:
    """Right when the child's label is that of the parent, or a kind of it.

    The parent's is one that two halves of the photographs agree on; the child, which is rarer, has the label of all.
    """
    label = np.full(len(labelled.on_all), -1)
    label[labelled.concepts] = labelled.label
    names = labelled.names
    kind = np.array([[wordnet.is_kind_of(one, other) for other in names] for one in names], dtype=bool)
    own = labelled.on_all
    return Judge(lambda child, parent: kind[own[child], label[parent]], own >= 0, label >= 0)


def parts_by_masks(codes: SparseCodes, masked: Masked, labelled: Labelled) -> Judge:
    """Right when the child stands inside the label of its parent, and on less than half of that label's patches.

    Both over the photographs in which the child fires, its own patches those with a label. Children on fewer than 20
    such patches cannot be judged.
    """
    inside, covered, support = _insides(codes, masked)
    part = (inside >= INSIDE) & (covered < COVERED)
    label = np.full(len(support), -1)
    label[labelled.concepts] = labelled.label
    return Judge(lambda child, parent: part[child, label[parent]], support >= FEWEST, label >= 0)


def edge_rows(by_seed: Sequence[dict[Key, Verdicts]], seed: int) -> list[Row]:
    """Precision, chance and their ratio, with intervals over parents drawn anew with all their edges."""
    rows: list[Row] = []
    for graph, kind, judge, data in by_seed[0]:
        found = [one[graph, kind, judge, data] for one in by_seed]
        draws = Draws.of_concepts([one.parent for one in found], seed)
        right, chance = share([one.right for one in found]), share([one.chance for one in found])
        base: Row = {"part": "edges", "graph": graph, "kind": kind, "judge": judge, "data": data}
        base |= {"edges": [one.edges for one in found], "judged": [len(one.right) for one in found]}
        for figure, of in (("precision", right), ("chance", chance)):
            row = {**base, "figure": figure, "value": draws.value(of), "interval": interval(draws.drawn(of))}
            rows.append({**row, "each": draws.each(of)})
        value, bounds = ratio(draws, right, chance)
        each = [a / b if b else None for a, b in zip(draws.each(right), draws.each(chance), strict=True)]
        rows.append({**base, "figure": "precision over chance", "value": value, "interval": bounds, "each": each})
    return rows


def any_of(judges: Sequence[Judge]) -> Judge:
    """Right where one of several judges finds so, each of the edges whose two ends it can judge."""

    def right(child: np.ndarray, parent: np.ndarray) -> np.ndarray:
        return np.maximum.reduce([_can(judge, child, parent) * judge.right(child, parent) for judge in judges])

    children = np.logical_or.reduce([judge.children for judge in judges])
    return Judge(right, children, np.logical_or.reduce([judge.parents for judge in judges]))


def _can(judge: Judge, child: np.ndarray, parent: np.ndarray) -> np.ndarray:
    return judge.children[child] & judge.parents[parent]


def _verdicts(graph: ConceptGraph, kind: int | None, judges: Sequence[Judge], levels: np.ndarray) -> Verdicts:
    """Of edges that one of the judges can judge; another parent may be one that any of them knows."""
    of_kind = np.ones(len(graph.parent_ids), bool) if kind is None else graph.kind == kind
    child, parent = graph.child_ids[of_kind].astype(np.int64), graph.parent_ids[of_kind].astype(np.int64)
    heard = np.logical_or.reduce([_can(judge, child, parent) for judge in judges])
    child, parent = child[heard], parent[heard]
    found = edge_precision(child, parent, any_of(judges), graph.frequency, levels, resamples=1)
    return Verdicts(int(of_kind.sum()), parent[found.judged], found.right, found.chance)


def _insides(codes: SparseCodes, masked: Masked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """([m, labels], [m, labels], [m]) share of each concept's labelled patches that lie inside each label (groups
    included), share of the label's patches that it covers in the photographs where it fires, and how many it has."""
    photos, tokens = masked.classes.shape
    own = len(masked.groupings[0])
    member = np.zeros((own, len(masked.labels)))
    for becomes in masked.groupings:
        member[np.arange(own), becomes] = 1
    fires = rows_of(codes, masked, np.arange(photos)).to_scipy().astype(bool).astype(np.float64)
    row = np.arange(photos * tokens)
    known = masked.classes.ravel() >= 0
    entries = np.ones(known.sum()), (row[known], masked.classes.ravel()[known])
    on_label = csr_array(entries, shape=(len(row), own)) @ csr_array(member)
    photo = csr_array((np.ones(len(row)), (row // tokens, row)), shape=(photos, len(row)))
    meets = (fires.T @ on_label).toarray()
    support = np.asarray(fires.T @ known.astype(np.float64)).ravel()
    where = ((photo @ fires) > 0).astype(np.float64)
    there = (where.T @ (photo @ on_label)).toarray()
    return meets / np.maximum(support, 1)[:, None], meets / np.maximum(there, 1), support
