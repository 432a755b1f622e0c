"""What `benchmarks.naming` may claim, computed from its rows.

The headline is the ratio of ours to the published modes in the share of concepts whose first word, out of 20,000, is
their label or a kind of it, on both sets of masked photographs. "More often" holds by the lower end of the interval,
an aim by the value; figures that nothing was asked of stand beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from benchmarks.concepts import related
from benchmarks.concepts.answers import COSINE, KIND, SAME, SHUFFLED, STRICT, WU_PALMER
from benchmarks.concepts.heard import ABOVE, ANYWHERE, MENTIONED, WPMI
from benchmarks.concepts.modes import BEST, PARENTS, PRUNED, VANILLA
from benchmarks.concepts.related import ALL, KIND_OF, OUR_GRAPH, PART_OF
from benchmarks.concepts.rows import BOTH, CLOSED, OPEN, OVER_LABELS, Row

Claim = dict[str, Any]
HEADLINE = f"top-1 {KIND}"
GAIN, OF_ALL, OF_CHANCE = 1.3, 1.5, 3.0
"""What is aimed at: ours over `parents`, the surest half over all names, edges over chance."""
ASKED_EDGES = {(OUR_GRAPH, KIND_OF, related.KIND_BY_MASKS, BOTH), (OUR_GRAPH, PART_OF, related.PART_BY_MASKS, BOTH)}
NAMES_OF = {KIND_OF: related.KIND_BY_NAMES, PART_OF: related.PART_BY_NAMES}
UNITLESS = (WU_PALMER, COSINE)
WPMI_GAIN = f"{WPMI}, {ABOVE}"
COMPARED = (VANILLA, PARENTS, PRUNED, BEST)
SHARES_SHOWN = {
    *product((OPEN, CLOSED), (HEADLINE, f"top-1 {STRICT}")),
    *product((OPEN,), (f"top-5 {KIND}", WU_PALMER, COSINE)),
}


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """The claims that the rows have figures for."""
    return [*_ratios(rows), *_abstention(rows), *_edges(rows), *_shares(rows), *_beside(rows)]


def _ratios(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for vocabulary, how, other in product((OPEN, CLOSED), (KIND, STRICT), (PARENTS, VANILLA)):
        figure = f"top-1 {how}"
        what = f"{BOTH}, {vocabulary}: {figure} of ours, times that of {other}"
        wanted = {"part": "ratio", "data": BOTH, "vocabulary": vocabulary, "mode": BEST, "against": other}
        for row in _find(rows, figure=figure, **wanted):
            if (vocabulary, figure) == (OPEN, HEADLINE):
                claims.append(_claim(what, row, "more than 1, with its interval", row["interval"][0] > 1))
                if other == PARENTS:
                    claims.append(_claim(f"{what} (aimed at)", row, f"at least {GAIN:g}", row["value"] >= GAIN))
            else:
                claims.append(_claim(what, row))
        claims += [_claim(what + OVER_LABELS, row) for row in _find(rows, figure=figure + OVER_LABELS, **wanted)]
    return claims


def _abstention(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for row in _find(rows, part="abstention", data=BOTH, vocabulary=OPEN, mode=BEST):
        what = f"{BOTH}, {OPEN}: {row['figure']}, of ours, times that of naming all"
        asked = row["figure"] == f"{HEADLINE}, surest half"
        claims.append(_claim(what, row, f"at least {OF_ALL:g}", row["value"] >= OF_ALL) if asked else _claim(what, row))
    for row in _find(rows, part="calibration", data=BOTH, vocabulary=OPEN, mode=BEST):
        claims.append(_claim(f"{BOTH}, {OPEN}: {row['figure']}, of ours", row, unit="share"))
    return claims


def _edges(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for row in _find(rows, part="edges", figure="precision over chance"):
        what = f"{_edges_of(row)} ({sum(row['judged']):,} judged), times chance"
        if _is_asked(row):
            claims.append(_claim(what, row, f"at least {OF_CHANCE:g}", row["value"] >= OF_CHANCE))
        elif row["kind"] == ALL or row["kind"] in row["judge"] or row["judge"] == NAMES_OF[row["kind"]]:
            claims.append(_claim(what, row))
    for row in _find(rows, part="edges", figure="precision"):
        if _is_asked(row) or row["judge"] == related.HELD:
            claims.append(_claim(_edges_of(row), row, unit="share"))
    for row in _find(rows, part="edges", figure="precision", judge=related.HELD):
        number = {"value": round(sum(row["edges"]) / len(row["edges"])), "interval": None}
        claims.append(_claim(f"{row['graph']}, {row['kind']}: edges of a dictionary", number, unit="edges"))
    return claims


def _edges_of(row: Row) -> str:
    return f"{row['graph']}, {row['kind']}: right by {row['judge']}, {row['data']}"


def _is_asked(row: Row) -> bool:
    return (row["graph"], row["kind"], row["judge"], row["data"]) in ASKED_EDGES


def _shares(rows: Sequence[Row]) -> list[Claim]:
    """The shares behind the headline, of every mode; and what shuffled labels would give ours."""
    claims = []
    for row in _find(rows, part="names"):
        asked = (row["vocabulary"], row["figure"]) in SHARES_SHOWN or row["figure"] == f"{HEADLINE}, named"
        null = (row["figure"], row["mode"]) == (f"{HEADLINE}, {SHUFFLED}", BEST)
        if (asked or null) and (row["data"] == BOTH or (row["mode"] in COMPARED and row["figure"] == HEADLINE)):
            what = f"{row['data']}, {row['vocabulary']}: {row['figure']}, {row['mode']}"
            claims.append(_claim(what, row, unit="share" if row["figure"] not in UNITLESS else None))
    return claims


def _beside(rows: Sequence[Row]) -> list[Claim]:
    """How steady names are, and what captions say of them."""
    claims = []
    for row in _find(rows, part="names"):
        if row["mode"] in COMPARED and row["figure"] in (SAME, WPMI_GAIN, MENTIONED, f"{MENTIONED}, {ANYWHERE}"):
            unit = "nats" if row["figure"] == WPMI_GAIN else "share"
            claims.append(_claim(f"{row['data']}: {row['figure']}, {row['mode']}", row, unit=unit))
    return claims


def _find(rows: Sequence[Row], **wanted: str) -> list[Row]:
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def _claim(
    what: str, row: Row, target: str | None = None, holds: bool | None = None, unit: str | None = "times"
) -> Claim:
    found = {"claim": what, "value": row["value"], "unit": unit, "target": target, "holds": holds}
    return {**found, "interval": row["interval"]}
