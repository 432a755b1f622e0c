"""What `benchmarks.cooccurrence` may claim, computed from its rows. Every time is compared within a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.sae_step_claims import claim_of, exponent, figures, ratio

Row = dict[str, Any]
DENSE, OURS, ALL, BOUNDED = "dense", "Cooccurrence", "Evidence", "Cooccurrence, bounded"
TIMES, ROUNDING = 50.0, 1e-5
"""At least so many times as fast; float32 sums of the dense form may differ by so much of a number."""
PARTS = {"made up": "made-up codes", "real": "real codes"}


def claims_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Speed against the dense form on the same codes, the same numbers, and growth over m and tokens."""
    claims = [claim for part in PARTS for claim in _comparison([row for row in rows if row["part"] == part], part)]
    return claims + [claim for size in ("m", "tokens") for claim in _growth(rows, size)]


def _comparison(rows: list[Row], part: str) -> list[dict[str, Any]]:
    if not rows:
        return []
    m = max(row["m"] for row in rows)
    of = f"{PARTS[part]}, m = {m:,}"
    dense = figures(rows, _time, method=DENSE, m=m)
    claims = []
    for method in (OURS, ALL):
        target = TIMES if method == OURS and part == "made up" else None
        times = ratio(dense, figures(rows, _time, method=method, m=m))
        claims.append(claim_of(f"{method}: times as fast as dense AᵀA ({of})", times, "times", target))
    same = [row for row in rows if "cells_differing" in row]
    cells = float(sum(row["cells_differing"] for row in same))
    widest = max(row["largest_difference"] for row in same)
    claims.append(
        claim_of(f"cells of C that differ from the dense form's ({PARTS[part]})", (cells, None), "", 0.0, True)
    )
    what = f"largest relative difference of a cell of D from the dense form's in float32 ({PARTS[part]})"
    claims.append(claim_of(what, (widest, None), "", ROUNDING, True))
    return claims


def _growth(rows: Sequence[Row], size: str) -> list[dict[str, Any]]:
    claims = []
    for method, target in ((DENSE, None), (OURS, 1.1), (ALL, 1.1), (BOUNDED, 1.1)):
        of_this = [row for row in rows if row["part"] == f"growth over {size}" and row["method"] == method]
        if len({row[size] for row in of_this}) > 1:
            low, high = min(row[size] for row in of_this), max(row[size] for row in of_this)
            what = f"{method}: time grows with {size} = {low:,} ... {high:,} to the power of"
            claims.append(claim_of(what, exponent(of_this, size), "", target, True))
    return claims


def _time(row: Row) -> float:
    return row["ms"]
