"""The weights of an imported autoencoder while they are brought to this package's convention, in float64.

Each method states an identity: what the other toolkit computes, and the weights with which `SparseAutoencoder` computes
the same. Source of the convention: `SparseAutoencoder`, u = (x - b_dec) W_encᵀ + b_enc, x̂ = a W_dec + b_dec.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from ..autoencoder import SparseAutoencoder
from ..config import PUBLISHED_FRACTIONS, Inputs, SaeConfig, Selection
from ..errors import InsightError


@dataclass(frozen=True)
class Parts:
    """Weights in float64."""

    encoder: Tensor
    """W_enc [m, d]"""
    decoder: Tensor
    """W_dec [m, d]"""
    encoder_bias: Tensor
    """b_enc [m]"""
    decoder_bias: Tensor
    """b_dec [d]"""
    threshold: Tensor | None = None
    """θ: [] or [m]; None where there is none."""

    def without_pre_bias(self) -> Parts:
        """For u = x W_encᵀ + b_enc: b_dec is not subtracted before encoding, so b_enc makes up for it."""
        return replace(self, encoder_bias=self.encoder_bias + self.encoder @ self.decoder_bias)

    def of_scaled_inputs(self, scale: float) -> Parts:
        """For weights made for scale · x, whose reconstruction is divided by `scale`; activations stay."""
        return replace(
            self,
            encoder=self.encoder * scale,
            decoder=self.decoder / scale,
            decoder_bias=self.decoder_bias / scale,
        )

    def of_centred_inputs(self, mean: Tensor) -> Parts:
        """For weights made for x - mean, whose reconstruction has `mean` added."""
        return replace(self, decoder_bias=self.decoder_bias + mean)

    def of_sample_deviation(self) -> Parts:
        """For tokens divided by their deviation over d - 1, where `inputs="layer_norm"` divides by that over d."""
        d = len(self.decoder_bias)
        return self.of_scaled_inputs(math.sqrt((d - 1) / d))

    def with_decoder_norms_in_activations(self) -> Parts:
        """For activations ‖W_dec‖ u, over which θ and the k largest are meant, and a decoder of unit rows."""
        norms = torch.linalg.vector_norm(self.decoder, dim=1)
        rows = self.decoder / torch.where(norms > 0, norms, 1.0).unsqueeze(1)
        return replace(
            self,
            encoder=self.encoder * norms.unsqueeze(1),
            encoder_bias=self.encoder_bias * norms,
            decoder=rows,
        )

    def of_gate(self, magnitude: Tensor, magnitude_bias: Tensor) -> Parts:
        """For a gated encoder: v = (x - b_dec) W_encᵀ, gate v + b_enc > 0, activation ReLU(eʳ v + b_mag).

        As eʳ > 0, the gate is open where u = eʳ v + b_mag exceeds θ = b_mag - eʳ b_enc: a JumpReLU (arXiv 2404.16014,
        §3.2 and appendix). `magnitude` is r [m], `magnitude_bias` b_mag [m].
        """
        factor = magnitude.exp()
        return replace(
            self,
            encoder=self.encoder * factor.unsqueeze(1),
            encoder_bias=magnitude_bias,
            threshold=magnitude_bias - factor * self.encoder_bias,
        )

    def build(
        self,
        path: Path,
        selection: Selection,
        k: int | None = None,
        inputs: Inputs = "raw",
        level_sizes: Sequence[int] | None = None,
    ) -> SparseAutoencoder:
        """The autoencoder. `path` is the file named by errors; `level_sizes` is what each Matryoshka level adds.

        Without a k it is n_concepts: no limit is known. It plays no part in encoding, but for selection "topk".
        """
        m, d = self.encoder.shape
        try:
            config = SaeConfig(d, m, m if k is None else k, _fractions(level_sizes or [m]), selection, inputs)
        except InsightError as error:
            raise InsightError(f"{path}: {error}") from None
        if level_sizes and config.levels != tuple(accumulate(level_sizes)):
            raise InsightError(f"{path}: expected levels which add up to {m} concepts, found {list(level_sizes)}")
        sae = SparseAutoencoder(config)
        taken = (self.encoder, self.decoder, self.encoder_bias, self.decoder_bias)
        for own, weight in zip(sae.weights, taken):
            own.copy_(weight)
        if self.threshold is not None:
            sae.threshold.copy_(self.threshold)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in sae.state_dict().values()):
            raise InsightError(
                f"{path}: expected weights which fit float32, found larger ones once scales are folded in"
            )
        return sae


def just_below(threshold: Tensor) -> Tensor:
    """θ' in float32 with u > θ' exactly where u >= θ, for toolkits which keep what equals the threshold."""
    return torch.nextafter(threshold.to(torch.float32), torch.tensor(-math.inf)).to(torch.float64)


def _fractions(sizes: Sequence[int]) -> tuple[float, ...]:
    """Shares which `SaeConfig` rounds down to exactly these sizes; the published ones where they give them."""
    m = sum(sizes)
    published = [int(share * m) for share in PUBLISHED_FRACTIONS[:-1]]
    if list(sizes) == [*published, m - sum(published)]:
        return PUBLISHED_FRACTIONS
    shares = [size / m for size in sizes]
    return tuple(math.nextafter(share, 1.0) if int(share * m) < size else share for share, size in zip(shares, sizes))
