"""How well an autoencoder does on features it is given as a stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypedDict

import torch
from torch import Tensor

from ..autoencoder import SparseAutoencoder
from ..codes import SparseCodes
from ..distributed import ALONE, Group
from ..errors import InsightError
from ..inputs import normalise
from ..nested import reconstructions
from .density import DensityMeter

_ROWS = 2048
"""Rows measured at once: float64 copies of more would be fresh pages from the system each time, the larger cost."""


class Evaluation(TypedDict):
    """Measures over all tokens of a stream."""

    fvu: list[float]
    """Per level Σ Var(x - x̂) / Σ Var(x), variances over tokens, sums over the d features. NaN if x does not vary."""
    cosine: float
    """Mean cosine of x and x̂ of the last level."""
    l0: float
    """Mean number of active concepts per token."""
    dead: float
    """Share of concepts that are active in no token."""
    dense: float
    """Share of concepts that are active in more than a tenth of the tokens."""
    density: list[int]
    """Histogram of the living concepts' firing frequencies: their number in each bin of `DENSITY_EDGES`."""


class _Spread:
    """Sum of squared deviations from the mean, in one pass and float64 (merged as in Chan, Golub and LeVeque 1983)."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, torch.zeros(()), torch.zeros((), dtype=torch.float64)

    def share_in(self, whole: _Spread) -> float:
        """These deviations as a share of the whole's; NaN where the whole varies no more than rounding does."""
        rounding = torch.finfo(torch.float32).eps ** 2 * whole.n * whole.mean.square().sum()
        return float(self.squares / whole.squares) if whole.squares > rounding else float("nan")

    def update(self, rows: Tensor) -> None:
        """Take in rows [b, d]."""
        rows = rows.double()
        mean, total = rows.mean(0), self.n + len(rows)
        shift = mean - self.mean.to(mean)
        between = shift.square().sum() * (self.n * len(rows) / total)
        self.squares = self.squares.to(mean) + (rows - mean).square().sum() + between
        self.mean = self.mean.to(mean) + shift * (len(rows) / total)
        self.n = total

    def join(self, group: Group, dim: int) -> None:
        """Those of all ranks' rows [n, dim]; exchanged on the host."""
        mean = self.mean.cpu().double().expand(dim)
        parts = group.gather(torch.cat([mean.new_tensor([self.n]), self.squares.cpu().view(1), mean])[None]).rows
        counts, squares, means = parts[:, 0], parts[:, 1], parts[:, 2:]
        self.n = int(counts.sum())
        self.mean = (counts[:, None] * means).sum(0) / max(self.n, 1)
        self.squares = squares.sum() + (counts * (means - self.mean).square().sum(1)).sum()


@torch.no_grad()
def evaluate(
    sae: SparseAutoencoder,
    batches: Iterable[Tensor],
    encode: Callable[[Tensor], SparseCodes] | None = None,
    group: Group = ALONE.everyone,
) -> Evaluation:
    """Measure `sae` over batches of features [b, d]; `encode` chooses the codes (default: `sae.encode`).

    In a `group` every rank gives batches of its own and gets the measures over all; it exchanges on the host.
    """
    encode = encode or sae.encode
    weights, levels = sae.weights, sae.config.levels
    data, errors = _Spread(), [_Spread() for _ in levels]
    meter = DensityMeter(sae.config.n_concepts)
    cosine = torch.zeros((), dtype=torch.float64, device=weights.decoder.device)
    with group.together():
        for batch in batches:
            if not len(batch):
                continue
            x = batch.to(weights.decoder)
            codes = encode(x)
            meter.update(codes)
            for part in (slice(start, start + _ROWS) for start in range(0, len(x), _ROWS)):
                found = reconstructions(codes[part], levels, weights.decoder, weights.decoder_bias)
                found = normalise(x[part], sae.config.inputs).undo(found)
                data.update(x[part])
                for spread, reconstruction in zip(errors, found):
                    spread.update(x[part] - reconstruction)
                cosine += torch.cosine_similarity(x[part].double(), found[-1].double()).sum()
    if group.size > 1:
        for spread in (data, *errors):
            spread.join(group, sae.config.dim)
        meter.join(group)
        cosine = group.sum_(cosine.cpu())
    if data.n == 0:
        raise InsightError("evaluate: expected at least one token, found none")
    density = meter.result()
    return Evaluation(
        fvu=[spread.share_in(data) for spread in errors],
        cosine=float(cosine / data.n),
        l0=density.l0,
        dead=density.dead,
        dense=density.dense,
        density=density.histogram.tolist(),
    )
