"""What `benchmarks.grounding` may claim, computed from its rows.

"Above" and "below" every other autoencoder hold by the end of the interval against the best of them; the aim, of the
default alone, holds by the value. The best is the one with the best figure in the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.heads.claim import Claim, Row, claim, find
from benchmarks.heads.grounded_rows import CHOSEN, CONSISTENCY, IMPURITY, LOCALITY, PART
from benchmarks.heads.settings import AIM, BUDGETS, MINE, OURS, SPECS

RIVALS = tuple(spec.name for spec in SPECS if spec.sae)
BEST: dict[str, Callable[..., Row]] = {LOCALITY: max, CONSISTENCY: max, CHOSEN: max, IMPURITY: min}


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """The claims that the rows have figures for."""
    claims = []
    for data in dict.fromkeys(row["data"] for row in find(rows, part=PART)):
        for budget in BUDGETS:
            here = find(rows, part=PART, data=data, budget=budget)
            for figure in BEST:
                claims += _over_rivals(here, data, figure, _words(budget))
    for row in find(rows, against=None):
        if row["figure"] in BEST or row["part"] != PART:
            words = f", {_words(row['budget'])}" if "budget" in row else ""
            claims.append(claim(f"{row['data']}{words}: {row['figure']}, {row['by']}", row, None))
    return claims


def _over_rivals(rows: Sequence[Row], data: str, figure: str, budget: str) -> list[Claim]:
    """Ours over the best of the other autoencoders."""
    rivals = [row for row in find(rows, figure=figure, against=None) if row["by"] in RIVALS]
    if not rivals:
        return []
    best = BEST[figure](rivals, key=lambda row: row["value"])["by"]
    claims = []
    of_mine = [row for mine in MINE for row in find(rows, by=mine, figure=figure, against=best)]
    for row in of_mine:
        what = f"{data}, {budget}: {figure} of {row['by']}, times that of the best other autoencoder ({best})"
        low, high = row["interval"]
        below = figure == IMPURITY
        target = "less than 1, with its interval" if below else "more than 1, with its interval"
        claims.append({**claim(what, row, "times"), "target": target, "holds": high < 1 if below else low > 1})
        if row["by"] == OURS and figure in (LOCALITY, CONSISTENCY):
            claims.append(claim(f"{what} (aimed at)", row, "times", least=AIM))
    return claims


def _words(budget: int | None) -> str:
    return "all concepts" if budget is None else f"{budget} concepts an image"
