"""How alike the directions of a dictionary are. In: decoder rows. Out: each concept's nearest other and its cosine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InsightError


@dataclass(frozen=True, eq=False)
class Coherence:
    """Nearest neighbours within a dictionary of m concepts by |cosine|."""

    neighbour: Tensor
    """int64 [m]: the other concept whose direction is nearest, up to sign; -1 for a row of zeros, which has none."""
    cosine: Tensor
    """float64 [m]: |cosine| with it; NaN for a row of zeros."""

    @property
    def maximum(self) -> float:
        """max over i ≠ j of |cos(i, j)|: the coherence of the dictionary. 1 when a direction is there twice."""
        return float(self.cosine[self.neighbour >= 0].max())

    @property
    def mean(self) -> float:
        """Mean of |cosine| with the nearest neighbour, over the rows that have one."""
        return float(self.cosine[self.neighbour >= 0].mean())


@torch.no_grad()
def coherence(decoder: Tensor, *, entries: int = 2**24) -> Coherence:
    """Nearest neighbours of every row of `decoder` [m, d]; rows need not be unit.

    Every pair is looked at once, m² d flop, in blocks of rows with at most max(entries, m) cosines: beside a few copies
    of the dictionary that is 64 MB, also for m = 65,536, where all cosines would be 17 GB (and about a minute of one
    core for d = 512). Neighbours are found in float32 and their cosines then taken in float64; neighbours within
    float32 rounding of each other may be exchanged. `InsightError` on NaN or infinity and with fewer than two rows
    that are not zero.
    """
    unit, alive = directions(decoder)
    n = len(unit)
    if n < 2:
        raise InsightError(f"coherence: expected at least two rows that are not zero, found {n} of {len(decoder)}")
    best = unit.new_full((n,), -1.0)
    other = torch.zeros(n, dtype=torch.int64, device=unit.device)
    step = max(1, entries // n)
    for start in range(0, n, step):
        stop = min(start + step, n)
        cosines = (unit[start:stop] @ unit[start:].T).abs_()  # against itself and what follows: the rest is done
        cosines[:, : stop - start].fill_diagonal_(-1.0)
        for rows, dim in ((slice(start, stop), 1), (slice(start, n), 0)):
            nearest, where = cosines.max(dim)
            better = nearest > best[rows]
            best[rows] = torch.where(better, nearest, best[rows])
            other[rows] = torch.where(better, where + start, other[rows])
    cosine = torch.empty_like(best, dtype=torch.float64)
    for part in torch.arange(n, device=unit.device).split(max(1, entries // (16 * unit.shape[1]))):
        pair = (decoder[alive[part]].double(), decoder[alive[other[part]]].double())
        cosine[part] = torch.cosine_similarity(*pair, eps=0.0).abs()
    every = torch.full((len(decoder),), -1, device=unit.device)
    return Coherence(
        neighbour=every.index_copy(0, alive, alive[other]),
        cosine=every.double().fill_(float("nan")).index_copy(0, alive, cosine),
    )


def directions(decoder: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [m, d] that are not zero as float32 unit rows [n, d], and which rows they are, int64 [n]."""
    if decoder.dim() != 2 or not bool(torch.isfinite(decoder).all()):
        found = f"{list(decoder.shape)} or NaN or infinity"
        raise InsightError(f"dictionary: expected finite rows [concepts, d], found {found}")
    alive = decoder.abs().amax(1).nonzero()[:, 0]
    rows = decoder[alive]
    rows = rows / rows.abs().amax(1, keepdim=True)  # a norm of very small numbers would be rounded to 0
    return torch.nn.functional.normalize(rows.float(), eps=0.0), alive
