"""What `benchmarks.attribution` may claim, computed from its rows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.heads.claim import Claim, Row, claim, find
from benchmarks.maps.settings import (
    BOTTLENECK_RATIO,
    CENTRE,
    CONCEPTS_SHARE,
    M2IB,
    OURS,
    RANDOM,
    RELEVANCE,
    WRONG,
)

MAIN = "average precision"
"""Of the measures of masks the one that claims are made of: it needs no threshold."""
LOW_IS_GOOD = ("drop", "deletion")


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """Maps against nulls and each other, set by set; faithfulness of a wrong explainer; times; and all figures."""
    claims = []
    for row in find(rows, part="masks", figure=MAIN):
        of = f"{row['data']}, {row['model']}: {MAIN} of {row['by']}"
        if row["by"] in (M2IB, RELEVANCE, OURS) and row["against"] in (CENTRE, RANDOM):
            claims.append(claim(f"{of} less that of the {row['against']} map", row, None, least=0))
        elif row["by"] == OURS and row["against"] == M2IB:
            claims.append(claim(f"{of} less that of {M2IB}", row, None, least=0))
            claims.append(_time(rows, row))
    for row in find(rows, part="changes", by=WRONG, against="similarity"):
        if row["figure"] in ("deletion", "insertion", "drop", "fidelity"):
            what = f"{row['data']}, {row['model']}: {row['figure']} of {WRONG} less that of similarity"
            low = row["figure"] in LOW_IS_GOOD
            claims.append(claim(what, row, None, least=0 if low else None, most=None if low else 0))
    for row in find(rows, part="speed"):
        what = f"{row['model']}: {row['by']}, {row['how']}: {row['figure']}"
        claims.append(claim(what, row, "times", least=BOTTLENECK_RATIO))
    for row in rows:
        if row["part"] != "speed" and row["against"] is None:
            unit = "s a pair" if row["figure"] == "seconds" else None
            claims.append(claim(f"{row['data']}, {row['model']}: {row['figure']}, {row['by']}", row, unit))
    return claims


def _time(rows: Sequence[Row], row: Row) -> Claim:
    """Seconds of concept maps over those of M2IB's on the same pairs."""
    ours, theirs = (
        find(rows, part="masks", data=row["data"], model=row["model"], by=by, figure="seconds")[0]["value"]
        for by in (OURS, M2IB)
    )
    what = f"{row['data']}, {row['model']}: time of {OURS} over that of {M2IB}"
    return claim(what, {"value": ours / theirs, "interval": None}, "times", most=CONCEPTS_SHARE)
