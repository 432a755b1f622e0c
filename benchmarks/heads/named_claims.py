"""What `benchmarks.classification` may claim, computed from its rows.

Every target of the head on our dictionary, set by set, and beside it what others give.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.heads.claim import Claim, Row, claim, find
from benchmarks.heads.named_rows import (
    ACCURACY,
    AUC,
    BEST_PROBE,
    CONCEPTS,
    HEADS,
    LOST,
    PART,
    PROBE,
    TEXT,
)
from benchmarks.heads.settings import CHOSEN, COST, FAITHFUL, LESS, MOST_CONCEPTS, OURS
from benchmarks.heads.speed import COST_FIGURE

OUR_HEADS = f"{HEADS}, {CHOSEN}", f"{HEADS}, {OURS}"
"""What claims are made for: the first that a set has rows of."""


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """The claims that the rows have figures for."""
    claims = []
    for data in dict.fromkeys(row["data"] for row in find(rows, part=PART)):
        claims += _of_set(find(rows, data=data), data)
    for row in find(rows, figure=COST_FIGURE):
        claims.append(claim(f"{row['data']}: {COST_FIGURE}", row, "times", most=COST))
    return claims


def _of_set(rows: Sequence[Row], data: str) -> list[Claim]:
    claims = []
    ours = next((by for by in OUR_HEADS if find(rows, by=by)), OUR_HEADS[-1])
    for row in find(rows, by=ours, figure=ACCURACY, against=BEST_PROBE):
        claims.append(claim(f"{data}: accuracy of concept heads, less {BEST_PROBE}'s", row, "share", least=-LESS))
    for row in find(rows, by=ours, figure=CONCEPTS):
        claims.append(claim(f"{data}: {CONCEPTS}, mean over photographs", row, "concepts", most=MOST_CONCEPTS))
    for row in find(rows, by=ours, figure=LOST):
        claims.append(claim(f"{data}: {LOST}", row, "times", least=FAITHFUL))
    for figure in (ACCURACY, AUC):
        for row in find(rows, figure=figure, against=None):
            if row["by"].startswith((HEADS, PROBE, TEXT)):
                claims.append(claim(f"{data}: {figure}, {row['by']}", row, "share" if figure == ACCURACY else None))
    for row in rows:
        if row["against"] not in (None, BEST_PROBE):
            claims.append(claim(f"{data}: accuracy, {row['by']}, {row['against']}", row, "share"))
    return claims
