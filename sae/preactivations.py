"""Pre-activations u = (x - b_dec) W_encᵀ + b_enc of a batch: the one dense product of a step, asked for by floor.

In: weights, tokens less the decoder bias, a floor. Out: all pairs (token, concept) with u above it, in float32. The
whole array [n, m] is never there: the product runs over tiles of tokens, and each tile is searched at once (`screen`
alone gives it whole).

Where the processor multiplies bfloat16 several times faster than float32, the product is only a screen: a pair whose
rounded score is further below the floor than rounding can explain is out for certain, and the others, hardly more than
are wanted, are computed again in float32. With x̃, w̃ the rounded rows,

    |x·w - x̃·w̃|  ≤  ‖x - x̃‖ ‖w‖ + ‖x̃‖ ‖w - w̃‖

to which the rounding of sums (d 2⁻²³ ‖x‖ ‖w‖, for screen and recomputation each) and of the score as it is stored (2⁻⁸
of it) are added. So no pair above the floor is ever missed, whatever the features are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from .config import Precision
from .kernels import Pattern, above, floors, rounded, sampled
from .weights import Weights

_TILE_ENTRIES = {"cpu": 2**23, "cuda": 2**28}
"""Scores held at once: on a CPU they should stay in its last cache until they are searched."""

_SLACK = 2**-20
"""For the rounding of the comparison itself, as a share of its terms."""


class Candidates(NamedTuple):
    """Pairs of a batch: every pair above the floor that was asked for, and perhaps some below it."""

    pattern: Pattern
    """[n, m]"""
    values: Tensor
    """[nnz]: u."""


class Preactivations:
    """The pre-activations of one batch. `precision`: see `TrainConfig`."""

    def __init__(self, weights: Weights, centred: Tensor, precision: Precision = "float32") -> None:
        self.weights, self.centred, self.precision = weights, centred, precision
        self.n, self.n_concepts = len(centred), len(weights.encoder)
        fast = centred.dtype == torch.float32 and multiplies_bfloat16_fast(centred.device)
        self._radius: Tensor | None = None
        self._rounding = 0.0  # of a score as it is stored, as a share of it
        self.operand: Tensor
        """[n, d]: `centred` as the product takes it, in bfloat16 where that is a screen."""
        if fast and precision == "float32":
            self.operand, norms, lost = rounded(centred)
            self._encoder, encoder_norms, encoder_lost = rounded(weights.encoder)
            self._rounding = 2**-8
            self._radius = _radius(centred.shape[1], norms, lost, encoder_norms.max(), encoder_lost.max())
        else:
            dtype = torch.bfloat16 if precision == "bfloat16" else centred.dtype
            self.operand, self._encoder = centred.to(dtype), weights.encoder.to(dtype)

    def above(self, floor: float | Tensor) -> Candidates:
        """All pairs with u > `floor`, a number or one a concept [m]."""
        rows, columns = self._margins(floor - self.weights.encoder_bias)
        parts = [above(scores, rows[begin:end], columns) for begin, end, scores in self._tiles()]
        return self._computed(parts)

    def largest(self, k: int) -> Candidates:
        """All pairs that are positive and among the k largest of their token."""
        bias, parts = self.weights.encoder_bias, []
        error, columns = self._margins(-bias)
        for begin, end, scores in self._tiles():
            # At least k pairs reach this, whatever rounding did to them, so the k largest do.
            floor = (floors(scores, bias, k, self._rounding) + error[begin:end]).clamp_min_(0)
            # A little lower, as pairs that equal the floor are to be found too.
            rows = floor * (1 - self._rounding - _SLACK) - 2**-126 + error[begin:end]
            parts.append(above(scores, rows, columns))
        return self._computed(parts)

    def _margins(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Floors for scores, of tokens [n] and concepts [m], that no score fails to exceed by rounding alone where its
        product exceeds `columns` [m]."""
        columns = columns - (self._rounding + _SLACK) * columns.abs()
        return self.centred.new_zeros(self.n) if self._radius is None else -self._radius, columns

    def _computed(self, parts: list[tuple[Pattern, Tensor]]) -> Candidates:
        """The pairs found in each tile, with u in float32."""
        pattern = _stacked([part for part, _ in parts])
        if self._radius is not None:
            values = sampled(pattern, self.centred, self.weights.encoder)
        else:
            values = torch.cat([scores for _, scores in parts])
        return Candidates(pattern, values.add_(self.weights.encoder_bias[pattern.columns]))

    def _tiles(self) -> Iterator[tuple[int, int, Tensor]]:
        """Scores without the bias, tile by tile, in one piece of memory."""
        size = max(1, _TILE_ENTRIES.get(self.operand.device.type, 2**23) // self.n_concepts)
        buffer = self.operand.new_empty(min(size, self.n), self.n_concepts)
        for begin in range(0, max(1, self.n), size):
            end = min(begin + size, self.n)
            with _sums_in_float32(buffer.device):
                torch.mm(self.operand[begin:end], self._encoder.t(), out=buffer[: end - begin])
            yield begin, end, buffer[: end - begin]

    def screen(self) -> tuple[Tensor, Tensor]:
        """Of all pairs at once the scores [n, m] in bfloat16, without the bias, and how far those of each token [n] may
        be from the float32 product before they are stored. Only where bfloat16 is a screen."""
        assert self._radius is not None
        with _sums_in_float32(self.operand.device):
            return self.operand @ self._encoder.t(), self._radius

    def of(self, concepts: slice) -> Preactivations:
        """Those of some of the concepts, as an autoencoder of these alone has them."""
        encoder, decoder, encoder_bias, decoder_bias = self.weights
        own = Weights(encoder[concepts], decoder[concepts], encoder_bias[concepts], decoder_bias)
        return Preactivations(own, self.centred, self.precision)

    def columns(self, concepts: Tensor) -> Tensor:
        """u [n, concepts] of a few concepts, as the screen has them: rounded where it is."""
        bias = self.weights.encoder_bias[concepts].to(self.operand.dtype)
        return torch.addmm(bias, self.operand, self._encoder[concepts].t())

    def rows(self, tokens: Tensor | slice) -> Tensor:
        """u [tokens, m] of a few tokens."""
        return torch.addmm(self.weights.encoder_bias, self.centred[tokens], self.weights.encoder.t())


def multiplies_bfloat16_fast(device: torch.device) -> bool:
    """Whether bfloat16 products of `device` are done in hardware, with sums in float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        found = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(supported() for supported in found if supported)
    return False


@contextmanager
def _sums_in_float32(device: torch.device) -> Iterator[None]:
    """On CUDA, parts of a bfloat16 product are not added up in bfloat16, which `_radius` would not cover."""
    if device.type != "cuda":
        yield
        return
    settings = torch.backends.cuda.matmul
    before = settings.allow_bf16_reduced_precision_reduction
    settings.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        settings.allow_bf16_reduced_precision_reduction = before


def _radius(d: int, norms: Tensor, lost: Tensor, encoder_norm: Tensor, encoder_lost: Tensor) -> Tensor:
    """[n]: the most by which a rounded score of each token may differ from the float32 one, its storage left out.

    From the norms of tokens [n] and the largest of concepts [], and the norms of what rounding took from them.
    """
    return 1.01 * (lost * encoder_norm + (norms + lost) * encoder_lost + d * 2**-22 * norms * encoder_norm)


def _stacked(parts: list[Pattern]) -> Pattern:
    """The rows of all parts one after the other."""
    if len(parts) == 1:
        return parts[0]
    counts = torch.cat([part.offsets.diff() for part in parts])
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return Pattern(offsets, torch.cat([part.columns for part in parts]), parts[0].n_columns)
