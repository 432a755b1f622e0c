"""BatchTopK: the k n largest pre-activations of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..codes import SparseCodes
from ..preactivations import Preactivations
from .largest import Largest
from .threshold import kept

_CARRIED_SHARE = 0.97
_LONGEST_FALL = 0.8
_SAMPLED_ROWS = 64
_SAMPLED_SHARES = (0.9, 0.5)


class BatchTopK(Largest):
    """Keeps exactly the k n largest positive pre-activations of a batch of n tokens (fewer if fewer are positive).

    Sorting n m numbers is what makes this slow elsewhere. Here a cut that is known to lie a little below the answer
    leaves a shortlist, in which the answer is settled exactly; the cut is carried over from the last batch. A cut that
    leaves too few is lowered and the search repeated: it decides the time taken, never the result. Of equal values at
    the edge the earlier token, then the lower concept stays (where ranks share the concepts, the lower rank's first).

    Where several processes share a step, each has a shortlist of its own, and the answer is settled in all together.
    """

    edge: float | None = None
    """The smallest activation of the last batch, of all ranks; None where it had none."""

    def __call__(self, pre: Preactivations) -> SparseCodes:
        """Codes [n, m]: the ReLU of the pre-activations, kept or not."""
        everyone = self.ranks.everyone
        wanted = self.k * self.ranks.tokens.count(pre.n)
        for cut in self._cuts(pre):
            found = pre.above(cut)
            values, own = everyone.gather(found.values)
            if len(values) > wanted:
                edge = torch.kthvalue(values, len(values) - wanted + 1).values
                if float(edge) > cut:
                    keep = values >= edge
                    surplus = int(keep.sum()) - wanted
                    if surplus:
                        keep[(values == edge).nonzero().squeeze(1)[-surplus:]] = False
                    break
            elif len(values) == wanted and bool((values > cut).all()):
                keep = torch.ones_like(values, dtype=torch.bool)
                break
        else:
            keep = values > 0
        codes = kept(found, keep[own])
        smallest = everyone.smallest(codes.activations)
        self._carry(smallest)
        return codes

    def _carry(self, edge: float | None) -> None:
        """A cut for the next batch, from the edge of this one: if it fell since the last, it is taken to fall again."""
        fall = 1.0 if edge is None or not self.edge else min(1.0, max(_LONGEST_FALL, edge / self.edge))
        self.edge, self.cut = edge, None if edge is None else _CARRIED_SHARE * fall * edge

    def _cuts(self, pre: Preactivations) -> Iterator[float]:
        """Cuts to try, falling to 0, below which nothing is ever kept."""
        if self.cut is not None and self.cut > 0:
            yield self.cut
        sample = pre.rows(slice(None, None, max(1, pre.n // _SAMPLED_ROWS)))
        wanted = self.k * self.ranks.tokens.count(len(sample))
        largest = torch.topk(sample.reshape(-1), min(wanted, sample.numel())).values
        largest = self.ranks.everyone.gather(largest).rows
        estimate = torch.topk(largest, min(wanted, len(largest))).values[-1]
        for share in _SAMPLED_SHARES:
            yield max(0.0, share * float(estimate))
        yield 0.0
