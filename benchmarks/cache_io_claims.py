"""What `benchmarks.cache_io` may claim, computed from its rows. Speeds are compared within a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.record import mean_interval
from benchmarks.sae_step_claims import Interval, ratio
from insight.cache.format.dtypes import DTYPES

Row = dict[str, Any]
Claim = dict[str, Any]
OURS, PEERS = "insight", ("saev", "sae_lens")
OF_RAW, OF_STEP, OF_PEERS = 0.8, 3.0, 3.0
MOST_FVU, MOST_MB = 0.002, 1024


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """All claims that the rows have figures for."""
    return [
        *_of_reading(rows),
        *_of_peers(rows),
        *_of_size(rows),
        *_of_dictionaries(rows),
        *_of_probes(rows),
        *_of_memory(rows),
    ]


def _of_reading(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    step = _by_round(rows, "tokens_per_s", part="step")
    for dtype in DTYPES:
        wanted = {"part": "read", "dtype": dtype, "state": "cold"}
        ours, raw = (_by_round(rows, "mb_per_s", loader=loader, **wanted) for loader in (OURS, "raw"))
        if ours.keys() & raw.keys():
            what = f"{dtype}, cold: bytes a second of shuffled reading, of raw sequential reading of the same files"
            claims.append(_at_least(what, "of raw", OF_RAW, *ratio(ours, raw)))
        ours = _by_round(rows, "tokens_per_s", **{**wanted, "state": "warm"}, loader=OURS)
        if ours.keys() & step.keys():
            what = f"{dtype}, from memory: tokens a second of shuffled reading, of what the SAE step takes"
            claims.append(_at_least(what, "x", OF_STEP, *ratio(ours, step)))
    return claims


def _of_peers(rows: Sequence[Row]) -> list[Claim]:
    """Ours against the fastest loader of a toolkit, and against the fastest way without one (all of them float32)."""
    claims = []
    names = sorted({row["loader"] for row in rows if row["part"] == "read"} - {OURS, "raw"})
    of_toolkits = [name for name in names if name in PEERS]
    without = [name for name in names if name not in PEERS]
    for whose, target, dtypes, who in (
        (of_toolkits, OF_PEERS, ("float32", "float16"), "toolkit's"),
        (without, None, ("float32",), "way without a library"),
    ):
        for state in ("cold", "warm"):
            found = {name: _by_round(rows, "tokens_per_s", part="read", loader=name, state=state) for name in whose}
            found = {name: values for name, values in found.items() if values}
            if not found:
                continue
            fastest = max(found, key=lambda name: median(found[name].values()))
            for dtype in dtypes:
                ours = _by_round(rows, "tokens_per_s", part="read", loader=OURS, dtype=dtype, state=state)
                if ours.keys() & found[fastest].keys():
                    what = f"{dtype}, {state}: tokens a second of shuffled reading, of the fastest {who} ({fastest})"
                    claims.append(_at_least(what, "x", target, *ratio(ours, found[fastest])))
    return claims


def _of_size(rows: Sequence[Row]) -> list[Claim]:
    size = {
        row["dtype"]: row["bytes"] / row["tokens"]
        for row in rows
        if row["part"] == "write" and row["loader"] == OURS and "error" not in row
    }
    if not {"int8", "float32"} <= size.keys():
        return []
    row = next(row for row in rows if row["part"] == "write" and row["loader"] == OURS)
    value = size["int8"] / size["float32"]
    what = f"int8: bytes a token, of float32's (a quarter and {value - 0.25:.4f} for scales, checks, image vectors; d"
    return [_claim(f"{what} = {row['dim']})", value, "of float32", "0.25 to two decimals", round(value, 2) <= 0.25)]


def _of_dictionaries(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for dtype in (name for name in DTYPES if name != "float32"):
        for trained, measured in (("float32", dtype), (dtype, "float32")):
            changes = _changes(
                rows, "seed", "fvu", ("fidelity", "trained_on", "measured_on"), (trained, measured), ("float32",) * 2
            )
            if changes:
                what = f"{dtype}: FVU of a dictionary trained on {trained} and measured on {measured} features"
                interval = mean_interval(changes) if len(changes) > 1 else None
                value = sum(changes) / len(changes)
                worst = max(map(abs, interval or (value,)))
                holds = worst < MOST_FVU if dtype == "int8" else None
                target = f"within {MOST_FVU}" if dtype == "int8" else None
                claims.append(_claim(f"{what}, change", value, "FVU", target, holds, interval))
    return claims


def _of_probes(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for dtype in (name for name in DTYPES if name != "float32"):
        changes = _changes(rows, "split", "accuracy", ("probe", "dtype"), (dtype,), ("float32",))
        if len(changes) > 1:
            low, high = mean_interval(changes)
            what = f"{dtype}: accuracy of a linear probe on mean patches, change from float32's"
            value = sum(changes) / len(changes)
            claims.append(_claim(what, value, "accuracy", "no measurable loss", high >= 0, (low, high)))
    return claims


def _of_memory(rows: Sequence[Row]) -> list[Claim]:
    claims = []
    for row in (row for row in rows if row["part"] == "memory" and row["loader"] == OURS and "error" not in row):
        what = f"{row['dtype']}: peak resident memory while training reads a cache of {row['cache_gb']:.3g} GB"
        peak, own = row["peak_mb"], row["peak_mb"] - row["start_mb"]
        claims.append(_claim(what, peak, "MB", f"under {MOST_MB}", peak < MOST_MB))
        claims.append(
            _claim(f"{what}, above that of the libraries alone", own, "MB", f"under {MOST_MB}", own < MOST_MB)
        )
    return claims


def _changes(
    rows: Sequence[Row],
    pair: str,
    figure: str,
    names: tuple[str, ...],
    changed: tuple[str, ...],
    exact: tuple[str, ...],
) -> list[float]:
    """Differences of a figure between two kinds of rows of a part, paired by seed or split."""
    part, *keys = names

    def by_pair(wanted: tuple[str, ...]) -> Mapping[int, float]:
        chosen = [row for row in rows if row["part"] == part and "error" not in row]
        return {row[pair]: row[figure] for row in chosen if tuple(row[key] for key in keys) == wanted}

    of_changed, of_exact = by_pair(changed), by_pair(exact)
    return [of_changed[number] - of_exact[number] for number in sorted(of_changed.keys() & of_exact.keys())]


def _by_round(rows: Sequence[Row], figure: str, **wanted: Any) -> dict[int, float]:
    """A figure by round, the largest where several rows are as wanted."""
    best: dict[int, float] = {}
    for row in rows:
        if "error" not in row and all(row.get(key) == value for key, value in wanted.items()):
            best[row["round"]] = max(best.get(row["round"], 0.0), row[figure])
    return best


def _at_least(what: str, unit: str, target: float | None, value: float, interval: Interval) -> Claim:
    holds = None if target is None else (interval[0] if interval else value) >= target
    return _claim(what, value, unit, target, holds, interval)


def _claim(what: str, value: float, unit: str, target: Any, holds: bool | None, interval: Interval = None) -> Claim:
    return {"claim": what, "value": value, "unit": unit, "target": target, "holds": holds, "interval": interval}
