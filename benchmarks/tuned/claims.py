"""What `benchmarks.methods` may claim, computed from its rows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.heads.claim import Claim, Row, claim
from benchmarks.tuned.settings import DEAL, DEAL_COST, DEALS, ECOR, NO_ALIGNMENT, PLAIN, XCOOP, ZERO_SHOT

LOW_IS_GOOD = ("separation", "overlap", "consistency")
EXPLAINED = ("average precision", "deletion", "insertion")
"""Of every explainer on every fitted model; the rows have all measures."""
TUNED = ((DEAL, PLAIN), (PLAIN, DEALS[0].name))


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """Where the papers say that a method is better than its control; its cost; and all figures."""
    claims = []
    for row in rows:
        by, against, figure = row["by"], row["against"], row["figure"]
        what = f"{row['data']}: {figure} of {by} less that of {against}"
        if row["part"] == "frozen" and figure in ("AUC", "accuracy"):
            if (by, against) == (XCOOP, NO_ALIGNMENT) or (against == ZERO_SHOT and by in ("coop", NO_ALIGNMENT)):
                claims.append(claim(what, row, None, least=0))
            elif against == XCOOP and "words" in by:
                claims.append(claim(what, row, None, most=0))
        elif row["part"] == "deal" and figure == "accuracy" and (by, against) in TUNED:
            claims.append(claim(what, row, None, least=0))
        elif row["part"] == "concept maps" and by == DEAL and against == PLAIN:
            low = figure in LOW_IS_GOOD
            claims.append(claim(what, row, None, least=None if low else 0, most=0 if low else None))
        elif row["part"] == "ecor" and figure in ("accuracy", "RR", "concept AUC") and by == ECOR and against:
            claims.append(claim(what, row, None, least=0))
        elif row["part"] == "ecor" and figure in ("accuracy", "RR") and against == ECOR:
            claims.append(claim(what, row, None, most=0))
        elif row["part"] == "cost":
            claims.append(claim(f"{by}: {figure}", row, "times", most=DEAL_COST))
    for row in rows:
        told = row["part"] != "cost" and ("explainers" not in row["part"] or row["figure"] in EXPLAINED)
        if told and row["against"] is None:
            unit = {"seconds": "s"}.get(row["figure"])
            model = f", {row['model']}" if row.get("model") else ""
            claims.append(claim(f"{row['data']}{model}: {row['figure']}, {row['by']}", row, unit))
    return claims
