"""What `benchmarks.naming` may claim, computed from its rows.

The headline is the ratio of ours to the published modes in the share of concepts whose first word, out of 20,000, is
their label or a kind of it, on both sets of masked photographs. "More often" holds by the lower end of the interval,
an aim by the value; figures that nothing was asked of stand beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.concepts.answers import KIND, SAME, SHUFFLED, STRICT
from benchmarks.concepts.modes import BEST, PARENTS, PUBLISHED, RANDOM, VANILLA
from benchmarks.concepts.rows import BOTH, CLOSED, EVIDENCE, OPEN, OVER_LABELS, Row

Claim = dict[str, Any]
HEADLINE = f"top-1 {KIND}"
OF_PUBLISHED, OF_ALL, OF_CHANCE = 1.3, 1.5, 3.0
"""What is aimed at: ours over `parents`, the surest half over all names, edges over chance."""


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """The claims that the rows have figures for."""
    return [*_ratios(rows), *_abstention(rows), *_shares(rows)]


def _ratios(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for vocabulary in (OPEN, CLOSED):
        for how in (KIND, STRICT):
            for other in (PARENTS, VANILLA):
                figure = f"top-1 {how}"
                found = _find(rows, part="ratio", data=BOTH, vocabulary=vocabulary, mode=BEST, against=other)
                what = f"{BOTH}, {vocabulary}: {figure} of ours, times that of {other}"
                for row in found:
                    if row["figure"] == figure and (vocabulary, figure) == (OPEN, HEADLINE):
                        claims.append(_claim(what, row, "more than 1, interval and all", row["interval"][0] > 1))
                        aim = f"at least {OF_PUBLISHED:g}"
                        claims.append(_claim(f"{what} (aimed at)", row, aim, row["value"] >= OF_PUBLISHED))
                    elif row["figure"] == figure:
                        claims.append(_claim(what, row))
                    elif row["figure"] == figure + OVER_LABELS:
                        claims.append(_claim(what + OVER_LABELS, row))
    return claims


def _abstention(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for row in _find(rows, part="abstention", data=BOTH, mode=BEST):
        what = f"{BOTH}, {row['vocabulary']}: {row['figure']} of ours, times that of all"
        asked = row["figure"].startswith(HEADLINE) and row["vocabulary"] == OPEN
        words, holds = (f"at least {OF_ALL:g}", row["value"] >= OF_ALL) if asked else (None, None)
        claims.append(_claim(what, row, words, holds))
    return claims


def _shares(rows: Sequence[Row]) -> list[Claim]:
    """The shares behind the headline, of every mode, with the nulls; and how steady names are."""
    claims = []
    for vocabulary, figure in ((OPEN, HEADLINE), (OPEN, f"top-1 {STRICT}"), (CLOSED, f"top-1 {STRICT}")):
        for row in _find(rows, part="names", data=BOTH, vocabulary=vocabulary):
            null = row["figure"] == f"{figure}, {SHUFFLED}" and row["mode"] == BEST
            if row["figure"] == figure or null:
                claims.append(_claim(f"{BOTH}, {vocabulary}: {row['figure']}, {row['mode']}", row, unit="share"))
    for row in _find(rows, part="names", data=EVIDENCE, figure=SAME):
        if row["mode"] in (*PUBLISHED, BEST) and row["mode"] != RANDOM:
            claims.append(_claim(f"{EVIDENCE}: {SAME}, {row['mode']}", row, unit="share"))
    return claims


def _find(rows: Sequence[Row], **wanted: str) -> list[Row]:
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def _claim(what: str, row: Row, target: str | None = None, holds: bool | None = None, unit: str = "times") -> Claim:
    found = {"claim": what, "value": row["value"], "unit": unit, "target": target, "holds": holds}
    return {**found, "interval": row["interval"]}
