"""How well an autoencoder does on features it is given as a stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypedDict

import torch
from torch import Tensor

from ..autoencoder import SparseAutoencoder
from ..codes import SparseCodes
from ..errors import InsightError
from ..inputs import normalise
from ..nested import reconstructions
from .density import DensityMeter


class Evaluation(TypedDict):
    """Measures over all tokens of a stream (specs/insight.md §3.1)."""

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


@torch.no_grad()
def evaluate(
    sae: SparseAutoencoder, batches: Iterable[Tensor], encode: Callable[[Tensor], SparseCodes] | None = None
) -> Evaluation:
    """Measure `sae` over batches of features [b, d]; `encode` chooses the codes (default: `sae.encode`)."""
    encode = encode or sae.encode
    weights, levels = sae.weights, sae.config.levels
    data, errors = _Spread(), [_Spread() for _ in levels]
    meter = DensityMeter(sae.config.n_concepts)
    cosine = torch.zeros((), dtype=torch.float64, device=weights.decoder.device)
    for batch in batches:
        if not len(batch):
            continue
        x = batch.to(weights.decoder)
        codes = encode(x)
        meter.update(codes)
        found = reconstructions(codes, levels, weights.decoder, weights.decoder_bias)
        found = normalise(x, sae.config.inputs).undo(found)
        data.update(x)
        for spread, reconstruction in zip(errors, found):
            spread.update(x - reconstruction)
        cosine += torch.cosine_similarity(x.double(), found[-1].double()).sum()
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
