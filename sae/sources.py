"""Where training tokens come from: anything that yields shuffled batches and can start again at any step.

Where several processes share the tokens, each reads its own share of a source that has shares, and takes its rows of
every batch of one that has none (`Reading`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .distributed import Group
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


@runtime_checkable
class SharedSource(TokenSource, Protocol):
    """A source of which several processes read a share each: what is too dear to be read by all of them."""

    def share(self, rank: int, world: int) -> TokenSource:
        """What process `rank` of `world` reads.

        The shares' epochs together visit every token once. The batches of a share follow from (seed, rank, world) and
        the step, `batch_size` being its own; its `n_tokens` are those of its own epoch (of the first, where epochs
        differ). Where shares or batches differ in size, one share may begin an epoch some steps before another.
        """


class TensorSource:
    """A tensor [n, d] in memory as a `TokenSource`. Every epoch is one random permutation of the tokens.

    It has no shares: in memory whole batches cost next to nothing, and with them several processes give the result of
    one.

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


class Reading:
    """How one rank comes by its own rows of every batch of `batch_size` tokens.

    Where the ranks share the tokens and the source has shares, it reads its own share, and nothing else. Otherwise it
    reads whole batches, of which `own` takes its rows.
    """

    n_rows: int
    """Of a batch that is read."""

    def __init__(self, source: TokenSource, batch_size: int, tokens: Group) -> None:
        self._source, self._tokens, self.n_rows = source, tokens, batch_size
        self._takes_rows = tokens.size > 1
        if tokens.size > 1 and isinstance(source, SharedSource):
            rows = tokens.share(batch_size)
            self._source, self.n_rows = source.share(tokens.rank, tokens.size), rows.stop - rows.start
            self._takes_rows = False

    def batches(self, *, seed: int, start_step: int) -> Iterator[Tensor]:
        """Batches [n_rows, d]; see `TokenSource.batches`."""
        return self._source.batches(self.n_rows, seed=seed, start_step=start_step)

    def own(self, batch: Tensor, parts: int) -> Tensor:
        """This rank's rows [n, d] of a batch that was read, for `Learner.step` with so many `parts` a batch.

        Of a whole batch these are its rows of each part, one part after the other: parts are those of one process.
        """
        if not self._takes_rows:
            return batch
        # A part's first ranks have one row more, as a batch's first parts have. With other shares a later part could
        # have more of a rank's rows than an earlier one, and `Learner.step` would cut them elsewhere.
        own = [part.tensor_split(self._tokens.size)[self._tokens.rank] for part in batch.tensor_split(parts)]
        return torch.cat(own)
