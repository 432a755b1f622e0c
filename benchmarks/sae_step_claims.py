"""What `benchmarks.sae_step` may claim, computed from its rows. Every figure is compared within a round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np

from benchmarks.record import mean_interval

Row = dict[str, Any]
Interval = tuple[float, float] | None
OURS = "insight"


def figures(rows: Sequence[Row], figure: Callable[[Row], float], **wanted: Any) -> dict[int, float]:
    """A figure by round, of the rows without error whose keys are as wanted."""
    chosen = [row for row in rows if "error" not in row and all(row[key] == value for key, value in wanted.items())]
    return {row["round"]: figure(row) for row in chosen}


def ratio(above: Mapping[int, float], below: Mapping[int, float]) -> tuple[float, Interval]:
    """Geometric mean over rounds of `above / below`, with its 95 % interval (None of a single round)."""
    logs = [log(above[round_] / below[round_]) for round_ in sorted(above.keys() & below.keys())]
    interval = mean_interval(logs) if len(logs) > 1 else None
    return exp(sum(logs) / len(logs)), interval and (exp(interval[0]), exp(interval[1]))


def exponent(rows: Sequence[Row], size: str) -> tuple[float, Interval]:
    """Slope of log milliseconds over log `size`: least squares within each round, mean over rounds, 95 % interval."""
    slopes = []
    for round_ in sorted({row["round"] for row in rows}):
        points = [(row[size], row["ms"]) for row in rows if row["round"] == round_ and "error" not in row]
        if len(points) > 1:
            sizes, times = np.log(np.array(points, dtype=float)).T
            slopes.append(float(np.polyfit(sizes, times, 1)[0]))
    return sum(slopes) / len(slopes), mean_interval(slopes) if len(slopes) > 1 else None


def best_peer(
    rows: Sequence[Row], figure: Callable[[Row], float], best: Callable[..., Any] = max, **wanted: Any
) -> tuple[str, dict[int, float]]:
    """The peer whose median over rounds is largest (or smallest, with `best=min`), and its figure by round.

    ("", {}) where none has any.
    """
    names = sorted({row["peer"] for row in rows} - {OURS, "floor"})
    found = {name: figures(rows, figure, peer=name, **wanted) for name in names}
    medians = {name: float(np.median(list(values.values()))) for name, values in found.items() if values}
    if not medians:
        return "", {}
    name = best(medians, key=medians.__getitem__)
    return name, found[name]


def claims_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Claims for each precision at the largest dictionary that was compared."""
    by_precision: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_precision[row["precision"]].append(row)
    return [claim for part in by_precision.values() for claim in _comparison(part)]


def exponents_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A claim for each size that our own cost was measured over, in rows of the part of that name."""
    claims = []
    for size in ("m", "k", "n"):
        over = [row for row in rows if row["part"] == size and "error" not in row]
        if len({row[size] for row in over}) > 1:
            low, high = min(row[size] for row in over), max(row[size] for row in over)
            what = f"cost of a Matryoshka step grows with {size} = {low:,} ... {high:,} to the power of"
            claims.append(claim_of(what, exponent(over, size), "", 1.1, at_most=True))
    return claims


def _comparison(rows: list[Row]) -> list[dict[str, Any]]:
    """Claims of one precision at its largest dictionary."""
    m = max(row["m"] for row in rows)
    rows = [row for row in rows if row["m"] == m]
    setting = f"m = {m:,}, {rows[0]['precision']}"
    claims: list[dict[str, Any]] = []

    def add(
        what: str, above: Mapping[int, float], below: Mapping[int, float], target: float | None, most: bool
    ) -> None:
        if above.keys() & below.keys():
            claims.append(claim_of(f"{what} ({setting})", ratio(above, below), "times", target, at_most=most))

    for arch, target in (("matryoshka", 8.0), ("batch_topk", None), ("topk", 2.5)):
        name, fastest = best_peer(rows, _speed, arch=arch, dead=0.0)
        ours = figures(rows, _speed, peer=OURS, arch=arch, dead=0.0)
        add(f"{arch}: our tokens a second, of those of {name}, the fastest peer", ours, fastest, target, False)
    step = figures(rows, _time, peer=OURS, arch="matryoshka", dead=0.0)
    for dead, target in ((0.1, 1.3), (0.25, None)):
        revived = figures(rows, _time, peer=OURS, arch="matryoshka", dead=dead)
        add(f"matryoshka: step with {dead:.0%} dead and AuxK on, of the step without", revived, step, target, True)
    for dtype, target in (("float32", 1.2), ("bfloat16", None)):
        product = figures(rows, _time, peer="floor", arch=dtype)
        add(f"matryoshka: whole step, of the {dtype} encode product alone", step, product, target, True)
    for what, memory in (("peak memory", _peak), ("memory that training adds", _added)):
        for arch in ("matryoshka", "topk"):
            name, leanest = best_peer(rows, memory, min, arch=arch, dead=0.0)
            ours = figures(rows, memory, peer=OURS, arch=arch, dead=0.0)
            add(f"{arch}: our {what}, of that of {name}, the leanest peer", ours, leanest, 1.0, True)
    return claims


def _speed(row: Row) -> float:
    return row["tokens_per_s"]


def _time(row: Row) -> float:
    return row["ms"]


def _peak(row: Row) -> float:
    return row["peak_mb"]


def _added(row: Row) -> float:
    return max(1.0, row["peak_mb"] - row["start_mb"])


def claim_of(
    what: str, measured: tuple[float, Interval], unit: str, target: float | None, at_most: bool = False
) -> dict[str, Any]:
    """A claim holds when the worse end of its interval reaches the target."""
    value, interval = measured
    worst = value if interval is None else interval[1 if at_most else 0]
    holds = None if target is None else (worst <= target if at_most else worst >= target)
    words = None if target is None else f"{'at most' if at_most else 'at least'} {target:g}"
    return {"claim": what, "value": value, "unit": unit, "target": words, "holds": holds, "interval": interval}
