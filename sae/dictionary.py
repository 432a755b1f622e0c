"""Dictionary: what every way to read features as a few active concepts has in common."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from .codes import SparseCodes


class Dictionary(Protocol):
    """Directions in the space of features, and a rule that says which of them a feature is made of.

    A sparse autoencoder is one; so are the classical decompositions of `sae.baselines`. Whatever works on codes (heads,
    metrics) works on all of them.
    """

    @property
    def n_concepts(self) -> int:
        """m."""

    @property
    def directions(self) -> Tensor:
        """float [m, d]: what an activation of 1 adds to the reconstruction."""

    def encode(self, x: Tensor) -> SparseCodes:
        """Codes [n, m] of features [n, d]."""

    def decode(self, codes: SparseCodes) -> Tensor:
        """Reconstructions [n, d]."""
