"""Which concepts of two dictionaries are the same. In: two decoders. Out: a one-to-one matching by cosine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InsightError
from .coherence import directions

DENSE_PAIRS = 2**28
"""Pairs that `match` takes: 16,384 x 16,384. Their cosines are 2 GB, and the assignment takes minutes."""


@dataclass(frozen=True, eq=False)
class Matching:
    """A one-to-one matching of the concepts of a left and a right dictionary."""

    partner: Tensor
    """int64 [m of left]: the right concept that a left one is matched with, or -1."""
    cosine: Tensor
    """float64 [m of left]: the cosine of the two directions; NaN without a partner."""


@torch.no_grad()
def match(left: Tensor, right: Tensor) -> Matching:
    """The matching of rows of `left` [m, d] and `right` [m', d] with the largest sum of cosines (Hungarian assignment).

    min(m, m') pairs; the sign counts, since activations are positive. Rows of zeros are left out. O(m³) at worst, with
    8 bytes a pair: on one core about 1 s for 4,096 unrelated concepts, minutes at the limit. `InsightError` above
    `DENSE_PAIRS` pairs: `match_above` has no such limit.
    """
    from scipy.optimize import linear_sum_assignment

    (left_unit, left_rows), (right_unit, right_rows) = _sides(left, right)
    if len(left_unit) * len(right_unit) > DENSE_PAIRS:
        found = f"{len(left_unit)} x {len(right_unit)}"
        raise InsightError(f"match: expected at most {DENSE_PAIRS} pairs of concepts, found {found}; use match_above")
    distances = (-left_unit.double() @ right_unit.double().T).cpu().numpy()
    ours, theirs = linear_sum_assignment(distances)
    return _matching(left, right, left_rows[ours], right_rows[theirs])


@torch.no_grad()
def match_above(left: Tensor, right: Tensor, floor: float, *, entries: int = 2**24) -> Matching:
    """The matching with the largest Σ (cosine - floor) over pairs whose cosine is above `floor`; the rest stay alone.

    Exact for that sum. Cosines are formed in blocks of rows, `entries` at once, m · m' · d flop in float32; what is
    kept is one edge for each pair above the floor, so choose it above what chance gives (in d dimensions unrelated
    directions have cosines of about 1/√d): the assignment then works on few edges.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    (left_unit, left_rows), (right_unit, right_rows) = _sides(left, right)
    n, width = len(left_unit), len(right_unit)
    rows, columns, gains = [], [], []
    step = max(1, entries // max(1, width))
    for start in range(0, n, step):
        gain = left_unit[start : start + step] @ right_unit.T - floor
        row, column = (gain > 0).nonzero(as_tuple=True)
        rows.append(row.cpu() + start)
        columns.append(column.cpu())
        gains.append(gain[row, column].double().cpu())
    # every row may also stay alone, at a gain of 0: a column of its own; all gains are raised by 1, as 0 is no edge
    alone = torch.arange(n)
    ends = (torch.cat([*rows, alone]).numpy(), torch.cat([*columns, width + alone]).numpy())
    weight = 1 + torch.cat([*gains, torch.zeros(n)]).numpy()
    graph = csr_array((weight, ends), shape=(n, width + n))
    ours, theirs = min_weight_full_bipartite_matching(graph, maximize=True) if n else (np.empty(0, int),) * 2
    ours, theirs = ours[theirs < width], theirs[theirs < width]
    return _matching(left, right, left_rows[ours], right_rows[theirs])


def _sides(left: Tensor, right: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of both: unit rows on the device of `left`; which rows they are on the CPU, where assignments are solved."""
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[1]:
        found = f"{list(left.shape)} and {list(right.shape)}"
        raise InsightError(f"match: expected two dictionaries [concepts, d] of one d, found {found}")
    sides = (directions(side.to(left.device)) for side in (left, right))
    return [(unit, rows.cpu()) for unit, rows in sides]


def _matching(left: Tensor, right: Tensor, ours: Tensor, theirs: Tensor) -> Matching:
    """Left row `ours[i]` with right row `theirs[i]`; their cosines once more in float64."""
    partner = torch.full((len(left),), -1)
    partner[ours] = theirs
    cosine = torch.full((len(left),), torch.nan, dtype=torch.float64)
    a, b = (side[rows.to(side.device)].double().cpu() for side, rows in ((left, ours), (right, theirs)))
    cosine[ours] = torch.cosine_similarity(a, b, eps=0.0)
    return Matching(partner, cosine)
