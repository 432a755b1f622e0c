"""The four arrays of an autoencoder, as training sees them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Weights(NamedTuple):
    """The four weights of an autoencoder, or one gradient for each."""

    encoder: Tensor
    """[m, d]"""
    decoder: Tensor
    """[m, d], unit rows"""
    encoder_bias: Tensor
    """[m]"""
    decoder_bias: Tensor
    """[d]"""
