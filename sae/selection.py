"""Which latents stay on: the batch's k n largest while training, those above a threshold afterwards.

In: pre-activations [n, m]. Out: `SparseCodes` of the chosen pairs; nothing else of size [n, m] is made but one mask.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .codes import SparseCodes

_SAMPLED_ROWS = 64
_CARRIED_SHARE = 0.97
_SAMPLED_SHARES = (0.9, 0.5)


class BatchTopK:
    """Keeps exactly the k n largest positive pre-activations of a batch of n tokens (fewer if fewer are positive).

    Sorting n m numbers is what makes this slow elsewhere. Here a cut that is known to lie a little below the answer
    leaves a shortlist, in which the answer is settled exactly; the cut is carried over from the last batch. It decides
    the time taken, never the result. Of equal values at the edge the earlier token, then the lower concept stays.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.cut: float | None = None

    def __call__(self, pre: Tensor) -> SparseCodes:
        """Codes [n, m] of pre-activations [n, m]: their ReLU, kept or not."""
        wanted = self.k * len(pre)
        flat = pre.reshape(-1)
        for cut in self._cuts(pre):
            shortlist = (flat > cut).nonzero().squeeze(1)
            if len(shortlist) >= wanted:
                break
        values = flat.index_select(0, shortlist)
        if len(shortlist) > wanted:
            edge = torch.kthvalue(values, len(values) - wanted + 1).values
            keep = values >= edge
            surplus = int(keep.sum()) - wanted
            if surplus:
                keep[(values == edge).nonzero().squeeze(1)[-surplus:]] = False
            shortlist, values = shortlist[keep], values[keep]
        self.cut = _CARRIED_SHARE * float(values.min()) if len(values) else None
        return _codes(shortlist, values, pre)

    def _cuts(self, pre: Tensor) -> Iterator[float]:
        """Cuts to try, falling to 0, below which nothing is ever kept."""
        if self.cut is not None:
            yield self.cut
        sample = pre[:: max(1, len(pre) // _SAMPLED_ROWS)]
        estimate = torch.topk(sample.reshape(-1), min(self.k * len(sample), sample.numel())).values[-1]
        for share in _SAMPLED_SHARES:
            yield max(0.0, share * float(estimate))
        yield 0.0


def above_threshold(pre: Tensor, threshold: Tensor) -> SparseCodes:
    """Codes [n, m] of the positive pre-activations [n, m] above a threshold [] or [m] (inference; JumpReLU)."""
    chosen = (pre > threshold.clamp_min(0.0)).reshape(-1).nonzero().squeeze(1)
    return _codes(chosen, pre.reshape(-1).index_select(0, chosen), pre)


def largest_of_each(pre: Tensor, k: int) -> SparseCodes:
    """Codes [n, m] of the k largest positive pre-activations [n, m] of each token (fewer if fewer are positive)."""
    values, concepts = torch.topk(pre, k, dim=1)
    rows = torch.arange(len(pre), device=pre.device).unsqueeze(1)
    chosen, order = torch.sort((rows * pre.shape[1] + concepts)[values > 0])
    return _codes(chosen, values[values > 0].index_select(0, order), pre)


def _codes(chosen: Tensor, values: Tensor, pre: Tensor) -> SparseCodes:
    """Codes of entries at rising flat positions of `pre`."""
    n, m = pre.shape
    starts = torch.arange(n + 1, device=pre.device) * m
    concepts = torch.remainder(chosen, m).to(torch.int32)
    return SparseCodes(torch.searchsorted(chosen, starts), concepts, values, m)
