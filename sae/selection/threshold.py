"""Pairs above a threshold: what an autoencoder does after training, and what rules end with."""

from __future__ import annotations

import torch
from torch import Tensor

from ..codes import SparseCodes
from ..preactivations import Candidates, Preactivations


def above_threshold(pre: Preactivations, threshold: Tensor) -> SparseCodes:
    """Codes [n, m] of the positive pre-activations above a threshold [] or [m] (inference; JumpReLU)."""
    floor = threshold.clamp_min(0.0)
    found = pre.above(floor if floor.dim() else float(floor))
    own = floor[found.pattern.columns] if floor.dim() else floor
    return kept(found, found.values > own)


def kept(found: Candidates, keep: Tensor) -> SparseCodes:
    """Codes of the candidates that stay."""
    offsets, columns, n_concepts = found.pattern
    places = keep.nonzero().squeeze(1)
    starts = torch.searchsorted(places, offsets)
    return SparseCodes(starts, columns.index_select(0, places), found.values.index_select(0, places), n_concepts)
