"""Where training tokens come from: anything that yields shuffled batches and can start again at any step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from .errors import InsightError


class TokenSource(Protocol):
    """Features to train on. A feature cache is one; `TensorSource` is one in memory."""

    @property
    def dim(self) -> int:
        """d: width of the features."""

    @property
    def n_tokens(self) -> int:
        """Tokens of one epoch."""

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        """Endless float32 batches [batch_size, d], in an order that `seed` alone decides.

        Started at `start_step`, the first batch is the one that a run from 0 would see at that step.
        """


class TensorSource:
    """A tensor [n, d] in memory as a `TokenSource`. Every epoch is one random permutation of the tokens.

    Batches run on across the end of an epoch, so every token is seen equally often, and a batch may be larger than the
    tensor (it then repeats tokens).
    """

    def __init__(self, features: Tensor) -> None:
        if features.dim() != 2 or 0 in features.shape or not features.is_floating_point():
            found = f"{features.dtype} {[*features.shape]}"
            raise InsightError(f"TensorSource: expected float features [n, d], found {found}")
        self.features = features

    @property
    def dim(self) -> int:
        return self.features.shape[1]

    @property
    def n_tokens(self) -> int:
        return self.features.shape[0]

    def batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        """See `TokenSource.batches`."""
        epoch, position = divmod(start_step * batch_size, self.n_tokens)
        order = self._permutation(seed, epoch)[position:]
        while True:
            while len(order) < batch_size:
                epoch += 1
                order = torch.cat([order, self._permutation(seed, epoch)])
            yield self.features[order[:batch_size].to(self.features.device)].float()
            order = order[batch_size:]

    def _permutation(self, seed: int, epoch: int) -> Tensor:
        # One generator an epoch, so that any epoch can be reached without drawing those before it.
        mixed = (seed * 1_000_003 + epoch) % 2**63
        return torch.randperm(self.n_tokens, generator=torch.Generator().manual_seed(mixed))
