"""What `benchmarks.alignment` may claim, computed from its rows.

A share of a fixed test set is what it is, so its claim holds by its value, and the interval says what other photos
might have given. A speed is measured anew each time and holds by the worse end of its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.probes.asked import ALL, PATCHES, PRESENT, WHOLE
from benchmarks.probes.speed import ratio_of

Row = dict[str, Any]
Claim = dict[str, Any]
TARGETS: dict[tuple[str, str, str], tuple[float, ...]] = {
    ("CIFAR-10 test", WHOLE, "accuracy"): (0.87, 0.9),
    ("MSRC-v2 test", ALL, "patch mIoU"): (0.45, 0.5),
    ("MSRC-v2 test", PRESENT, "patch mIoU"): (0.56,),
}
"""What is asked for, and behind it what is aimed at."""
SLOWEST = 1.1


def claims_of(rows: Sequence[Row], whose: str) -> list[Claim]:
    """All claims of one speaker that the rows have figures for; the others and the nulls stand beside its main ones."""
    asked = [row for row in rows if row.get("part") != "speed"]
    claims = []
    for row in (row for row in asked if row["who"] == whose and row["against"] is None):
        what = f"{row['data']}: {row['figure']} by {row['by']}"
        targets = TARGETS.get((row["data"], row["by"], row["figure"]), (None,))
        for target, word in zip(targets, ("", " (aimed at)"), strict=False):
            claims.append(_claim(what + word, row, target))
        if row["by"] != PATCHES and row["figure"] in ("accuracy", "patch mIoU", "text to image R@1"):
            others = [other for other in asked if other is not row and _beside(other, row)]
            claims += [_claim(f"{what}, {_of(other)}", other, None) for other in others]
    return claims + _of_speed(rows)


def _beside(other: Row, row: Row) -> bool:
    same = all(other[key] == row[key] for key in ("data", "by", "figure"))
    return same and (other["who"] == row["who"]) != (other["against"] is None)


def _of(row: Row) -> str:
    return row["against"] or row["who"]


def _claim(what: str, row: Row, target: float | None) -> Claim:
    value = row["value"]
    words, holds = (None, None) if target is None else (f"at least {target:g}", value >= target)
    interval = row["interval"]
    return {"claim": what, "value": value, "unit": "share", "target": words, "holds": holds, "interval": interval}


def _of_speed(rows: Sequence[Row]) -> list[Claim]:
    speeds = [row for row in rows if row.get("part") == "speed" and "error" not in row]
    claims = []
    for name in dict.fromkeys(row["who"] for row in speeds):
        value, interval = ratio_of([row for row in speeds if row["who"] == name])
        what = f"{name}: time of dense features, of the bare forward of the same tower"
        claim = {"claim": what, "value": value, "unit": "times", "target": f"at most {SLOWEST:g}"}
        claims.append({**claim, "holds": interval[1] <= SLOWEST, "interval": interval})
    return claims
