"""Rows of `benchmarks.grounding` on masked photographs: locality, consistency and impurity of every dictionary.

A row: {"part", "data", "images", "grid", "budget", "by", "figure", "against", "value", "interval", "each"}. `budget`:
concepts of an image that were kept, None all; `against`: the dictionary that a ratio is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.concepts.draws import Figure
from benchmarks.heads.dictionaries import Made
from benchmarks.heads.figures import Row, mean_of_columns, means, of_photos, ratio_row, row
from benchmarks.heads.grounded import Grounded, as_asked, dealt, ground
from benchmarks.heads.masked import Masked
from benchmarks.heads.settings import BUDGETS, MINE, OURS, SHARED
from insight.evaluation import Grounding

PART = "grounding"
LOCALITY, CONSISTENCY, CHOSEN, IMPURITY = (
    "locality",
    "consistency",
    "consistency, concepts chosen on training photographs",
    "impurity",
)
ALIKE, ACTIVE, OF_IMAGE = (
    "monosemanticity, by the backbone's image vectors",
    "concepts on a patch",
    "concepts of an image",
)
DEALT = "masks of other photographs"


def rows_of(masked: Masked, dictionaries: Sequence[Made]) -> list[Row]:
    """All rows of one set."""
    masked = as_asked(masked)
    trained = ground(masked.train, masked.labels, dictionaries)
    tested = ground(masked.test, masked.labels, dictionaries)
    by_kind = _by_kind(trained, tested)
    base: Row = {"part": PART, "data": masked.name, "images": len(masked.test), "against": None}
    base |= {"grid": list(masked.test.cache.grid)}
    counts = {name: len(pairs) for name, pairs in by_kind.items()}
    rows: list[Row] = []
    for budget in BUDGETS:
        figures = {name: _figures(pairs, budget) for name, pairs in by_kind.items()}
        for name, pairs in by_kind.items():
            own = {**base, "budget": budget, "by": name}
            rows += _of_kind(own, figures, counts)
            per_image = [found.by_budget[budget].entropy.nnz / len(masked.test) for _, found in pairs]
            rows.append(_plain({**own, "figure": OF_IMAGE}, per_image))
    for name, pairs in by_kind.items():
        own = {**base, "budget": None, "by": name}
        rows.append(_plain({**own, "figure": ALIKE}, [found.monosemanticity for _, found in pairs]))
        rows.append(_plain({**own, "figure": ACTIVE}, [found.active for _, found in pairs]))
    return [*rows, *_null(base, masked, [made for made in dictionaries if made.spec.name == OURS])]


Pair = tuple[Grounded, Grounded]
"""Of one dictionary, on the training and on the test photographs."""


def _by_kind(trained: Sequence[Grounded], tested: Sequence[Grounded]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in zip(trained, tested, strict=True):
        found.setdefault(pair[0].made.spec.name, []).append(pair)
    return found


def _figures(pairs: Sequence[Pair], budget: int | None) -> dict[str, Figure]:
    here = [found.by_budget[budget] for _, found in pairs]
    before = [found.by_budget[budget] for found, _ in pairs]
    present = [one.present.astype(np.float64) for one in here]
    return {
        LOCALITY: means([p * one.best_iou() for p, one in zip(present, here, strict=True)], present),
        CONSISTENCY: _consistency(here, [one.best_concepts() for one in here]),
        CHOSEN: _consistency(here, [one.best_concepts() for one in before]),
        IMPURITY: _impurity(here),
    }


def _consistency(found: Sequence[Grounding], best: Sequence[np.ndarray]) -> Figure:
    """With concepts that are the same in every draw; labels that a draw has no photograph of are left out."""
    tables = [one.iou_with(concepts) for one, concepts in zip(found, best, strict=True)]

    def figure(i: int, weights: np.ndarray) -> np.ndarray:
        iou, either = tables[i]
        there, counted = weights @ found[i].present.astype(np.float64), weights @ either.astype(np.float64)
        return mean_of_columns(weights @ iou, counted, there > 0)

    return figure


def _impurity(found: Sequence[Grounding]) -> Figure:
    """Over the concepts that are active often enough among all photographs."""
    above, below = [], []
    for one in found:
        often = np.isfinite(one.impurity_of_concepts())
        labelled = one.present.any(1).reshape(-1, 1)
        active = one.entropy.copy()
        active.data = np.ones_like(active.data)
        above.append(one.entropy[:, often].toarray() * labelled)
        below.append(active[:, often].toarray() * labelled)
    return means(above, below)


def _of_kind(base: Row, figures: Mapping[str, Mapping[str, Figure]], dictionaries: Mapping[str, int]) -> list[Row]:
    """The measures of one kind, and of ours (`MINE`) over them; `dictionaries`: how many there are of each kind."""
    draws = of_photos(base["images"], dictionaries[base["by"]])
    rows = []
    for name, figure in figures[base["by"]].items():
        rows.append(row({**base, "figure": name}, draws, figure))
        for mine in MINE:
            if mine in figures and (base["by"] not in MINE or (mine, base["by"]) == (SHARED, OURS)):
                pair = (figures[mine][name], figure)
                rows.append(_over(base, name, mine, pair, (dictionaries[mine], dictionaries[base["by"]])))
    return rows


def _over(base: Row, name: str, mine: str, pair: tuple[Figure, Figure], dictionaries: tuple[int, int]) -> Row:
    """Ours over another kind, seed by seed; a kind that has one dictionary stands against each of ours."""
    (ours, other), (own, others) = pair, dictionaries
    draws = of_photos(base["images"], own)
    matched: Figure = lambda i, weights: other(min(i, others - 1), weights)  # noqa: E731
    return ratio_row({**base, "by": mine, "figure": name, "against": base["by"]}, draws, ours, matched)


def _null(base: Row, masked: Masked, ours: Sequence[Made]) -> list[Row]:
    """Ours against the masks of other photographs."""
    if not ours:
        return []
    pairs = _by_kind(*[ground(dealt(part), masked.labels, ours) for part in (masked.train, masked.test)])[OURS]
    draws, rows = of_photos(base["images"], len(pairs)), []
    for budget in BUDGETS:
        own = {**base, "budget": budget, "by": f"{OURS}, {DEALT}"}
        rows += [row({**own, "figure": name}, draws, figure) for name, figure in _figures(pairs, budget).items()]
    return rows


def _plain(base: Row, each: list[float]) -> Row:
    return {**base, "value": float(np.mean(each)), "interval": None, "each": each}
