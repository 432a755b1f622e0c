"""Whether relations are right: the share of edges that are, beside that of edges to other parents of like frequency.

In: edges (child, parent) and a `Judge`: by the names of both and WordNet, by masks, or by co-occurrence on photographs
that the edges have not seen. Out: `EdgePrecision`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sae.errors import InsightError

from ..evidence.cooccurrence import Cooccurrence
from ..words.wordnet import WordNet
from .bootstrap import RESAMPLES, Interval, ratio
from .reference import Overlaps, Reference

NEIGHBOURS = 50
"""Concepts of like frequency that could have been the parent."""
Right = Callable[[Int[np.ndarray, " e"], Int[np.ndarray, " e"]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Judge:
    """What makes an edge right, and of which of m concepts it can tell."""

    right: Right
    """Of e children and e parents: whether each edge is right (bool), or how far (0 to 1)."""
    children: Bool[np.ndarray, " m"]
    parents: Bool[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class EdgePrecision:
    """How many edges are right, against chance; NaN throughout where no edge can be judged.

    Intervals are over the parents, each with all its edges: those are right or wrong together.
    """

    precision: Interval
    null: Interval
    """Expected if each parent were drawn from the concepts of its level that are most like it in frequency."""
    ratio: Interval
    """`precision` over `null`, resampled together; infinite where chance is never right."""
    edges: int
    """Edges that could be judged."""
    judged: Int[np.ndarray, " j"]
    """Which of the edges given these are, ..."""
    right: Float[np.ndarray, " j"]
    """... how far each is right, ..."""
    chance: Float[np.ndarray, " j"]
    """... and what is expected of another parent in its place: for pooling over several dictionaries."""


def edge_precision(
    child: Int[np.ndarray, " e"],
    parent: Int[np.ndarray, " e"],
    judge: Judge,
    frequency: Int[np.ndarray, " m"],
    level: Int[np.ndarray, " m"],
    *,
    neighbours: int = NEIGHBOURS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> EdgePrecision:
    """The share of edges child -> parent that the judge finds right, and the same for parents of like frequency.

    For each edge the null is the mean over the `neighbours` concepts that stand next to the parent when those of its
    level that can be judged are put in order of `frequency`, child and parent left out: an expectation, not a draw.
    Edges with an end that cannot be judged, or with nothing to compare with, are left out.
    """
    m = len(frequency)
    if not (len(child) == len(parent) and len(level) == len(judge.children) == len(judge.parents) == m):
        found = f"{len(child)}, {len(parent)}; {len(level)}, {len(judge.children)}, {len(judge.parents)}"
        raise InsightError(f"edge_precision: expected as many children as parents, and {m} concepts, found {found}")
    if neighbours < 1:
        raise InsightError(f"edge_precision: expected at least one neighbour, found {neighbours}")
    judged = np.flatnonzero(judge.children[child] & judge.parents[parent] & (child != parent))
    child, parent = child[judged], parent[judged]
    edge, other = _others(child, parent, judge.parents, frequency, level, neighbours)
    count = np.bincount(edge, minlength=len(child))
    total = np.bincount(edge, weights=_right(judge, child[edge], other), minlength=len(child))
    kept = count > 0
    expected = total[kept] / count[kept]
    own = _right(judge, child[kept], parent[kept])
    whose = np.unique(parent[kept], return_inverse=True)[1]
    rights, chances, counts = (np.bincount(whose, weights=w) for w in (own, expected, np.ones(len(own))))
    return EdgePrecision(
        precision=ratio(rights, counts, resamples=resamples, seed=seed),
        null=ratio(chances, counts, resamples=resamples, seed=seed),
        ratio=ratio(rights, chances, resamples=resamples, seed=seed),
        edges=int(kept.sum()),
        judged=judged[kept],
        right=own,
        chance=expected,
    )


def by_names(
    names: Sequence[str | None], related: Callable[[str, str], bool], *, wordnet: WordNet | None = None
) -> Judge:
    """Right when the names are related: `WordNet.is_kind_of` for kind-of edges, `WordNet.is_part_of` for part-of edges.

    Concepts without a name, or with one that WordNet does not know, cannot be judged. `related(child, parent)` is asked
    once for each pair of names.
    """
    wordnet = wordnet or WordNet.load()
    known = np.array([name is not None and bool(wordnet.senses(name)) for name in names], dtype=bool)
    distinct = sorted({name for name in names if name is not None})
    place = {name: i for i, name in enumerate(distinct)}
    number = np.array([-1 if name is None else place[name] for name in names], dtype=np.int64)

    def right(child: Int[np.ndarray, " e"], parent: Int[np.ndarray, " e"]) -> Bool[np.ndarray, " e"]:
        pairs, which = np.unique(number[child] * len(distinct) + number[parent], return_inverse=True)
        verdicts = [related(distinct[pair // len(distinct)], distinct[pair % len(distinct)]) for pair in pairs.tolist()]
        return np.array(verdicts, dtype=bool)[which]

    return Judge(right, known, known)


def by_masks(overlaps: Overlaps, reference: Reference, *, least: float = 0.5, min_support: int = 20) -> Judge:
    """Right when at least the share `least` of the child's support lies in masks of the label its parent stands for.

    Children on fewer than `min_support` labelled patches cannot be judged, nor parents without a label.
    """
    share = overlaps.intersections / np.maximum(overlaps.support, 1)[:, None]

    def right(child: Int[np.ndarray, " e"], parent: Int[np.ndarray, " e"]) -> Bool[np.ndarray, " e"]:
        return share[child, reference.label[parent]] >= least

    return Judge(right, overlaps.support >= min_support, reference.label >= 0)


def by_containment(tokens: Cooccurrence, *, min_support: int = 20) -> Judge:
    """How far edges hold on other photographs: Dn, the activation-weighted P(parent | child), 0 to 1.

    Children on fewer than `min_support` tokens there cannot be judged.
    """
    weighted = tokens.weighted
    own = weighted.diagonal()

    def right(child: Int[np.ndarray, " e"], parent: Int[np.ndarray, " e"]) -> Float[np.ndarray, " e"]:
        return np.asarray(weighted[child, parent], dtype=np.float64).reshape(-1) / own[child]

    return Judge(right, tokens.frequency >= min_support, tokens.frequency > 0)


def lift(child: Int[np.ndarray, " e"], parent: Int[np.ndarray, " e"], tokens: Cooccurrence) -> Float[np.ndarray, " e"]:
    """Dn / P(parent) of each edge on these tokens: 1 where the two are independent, NaN where one never fires."""
    containment = by_containment(tokens).right
    with np.errstate(divide="ignore", invalid="ignore"):
        return containment(child, parent) * tokens.tokens / tokens.frequency[parent]


def _right(judge: Judge, child: Int[np.ndarray, " e"], parent: Int[np.ndarray, " e"]) -> Float[np.ndarray, " e"]:
    return judge.right(child, parent).astype(np.float64) if len(child) else np.zeros(0)


def _others(
    child: Int[np.ndarray, " e"],
    parent: Int[np.ndarray, " e"],
    eligible: Bool[np.ndarray, " m"],
    frequency: Int[np.ndarray, " m"],
    level: Int[np.ndarray, " m"],
    neighbours: int,
) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " c"]]:
    """For each edge the concepts that could have been the parent: (edge, concept) of every one."""
    order = np.lexsort((frequency, level))
    order = order[eligible[order]]
    place = np.full(len(frequency), -1)
    place[order] = np.arange(len(order))
    first = np.searchsorted(level[order], level[parent], "left")
    last = np.searchsorted(level[order], level[parent], "right")
    start = np.clip(place[parent] - neighbours // 2, first, np.maximum(first, last - neighbours - 1))
    window = start[:, None] + np.arange(neighbours + 1)
    inside = window < last[:, None]
    edge, column = inside.nonzero()
    other = order[window[edge, column]]
    keep = (other != child[edge]) & (other != parent[edge])
    return edge[keep], other[keep]
