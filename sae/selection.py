"""Which latents stay on: the batch's k n largest, the k largest of each token, or those above a threshold.

In: the `Preactivations` of a batch. Out: `SparseCodes` of the chosen pairs. Nothing of size [n, m] is made.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .codes import SparseCodes
from .kernels import keep_largest
from .preactivations import Candidates, Preactivations

_SAMPLED_ROWS = 64
_CARRIED_SHARE = 0.97
_SAMPLED_SHARES = (0.9, 0.5)
_UNSETTLED_SHARE = 0.02


class BatchTopK:
    """Keeps exactly the k n largest positive pre-activations of a batch of n tokens (fewer if fewer are positive).

    Sorting n m numbers is what makes this slow elsewhere. Here a cut that is known to lie a little below the answer
    leaves a shortlist, in which the answer is settled exactly; the cut is carried over from the last batch. A cut that
    leaves too few is lowered and the search repeated: it decides the time taken, never the result. Of equal values at
    the edge the earlier token, then the lower concept stays.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.cut: float | None = None

    def __call__(self, pre: Preactivations) -> SparseCodes:
        """Codes [n, m]: the ReLU of the pre-activations, kept or not."""
        wanted = self.k * pre.n
        for cut in self._cuts(pre):
            found = pre.above(cut)
            values = found.values
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
        codes = _kept(found, keep)
        self.cut = _CARRIED_SHARE * float(codes.activations.min()) if codes.nnz else None
        return codes

    def _cuts(self, pre: Preactivations) -> Iterator[float]:
        """Cuts to try, falling to 0, below which nothing is ever kept."""
        if self.cut is not None and self.cut > 0:
            yield self.cut
        sample = pre.rows(slice(None, None, max(1, pre.n // _SAMPLED_ROWS)))
        estimate = torch.topk(sample.reshape(-1), min(self.k * len(sample), sample.numel())).values[-1]
        for share in _SAMPLED_SHARES:
            yield max(0.0, share * float(estimate))
        yield 0.0


class TopK:
    """Keeps exactly the k largest positive pre-activations of each token (fewer if fewer are positive).

    The cut is one that nearly all tokens have k values above; it is carried over from the last batch. The few tokens
    that have not are computed in full, so the cut decides the time taken, never the result.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.cut: float | None = None

    def __call__(self, pre: Preactivations) -> SparseCodes:
        """Codes [n, m]: the ReLU of the pre-activations, kept or not."""
        cut = self._sampled_cut(pre) if self.cut is None else self.cut
        found = pre.above(cut)
        keep, settled, edges = self._largest_of_each(found, cut)
        codes = _kept(found, keep)
        if not bool(settled.all()):
            rest = (~settled).nonzero().squeeze(1)
            codes = _with_rows(codes, rest, largest_of_each(pre.rows(rest), self.k))
        if len(edges):
            self.cut = self._below_most(edges)
        return codes

    def _largest_of_each(self, found: Candidates, cut: float) -> tuple[Tensor, Tensor, Tensor]:
        """Which candidates [nnz] stay, of which tokens that is settled [n], and the least kept of each settled one."""
        offsets, counts = found.pattern.offsets, found.pattern.offsets.diff()
        first = torch.repeat_interleave(offsets[:-1], counts, output_size=len(found.values))
        tokens = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        places = torch.arange(len(tokens), device=counts.device) - first
        width = max(1, int(counts.max()) if len(counts) else 0)
        padded = found.values.new_zeros(len(counts), width)
        padded[tokens, places] = torch.where(found.values > cut, found.values, 0.0)
        keep_largest(padded, self.k)
        settled = (padded > 0).sum(1) >= min(self.k, found.pattern.n_columns)
        if cut == 0:
            settled = torch.ones_like(settled)
        keep = (padded[tokens, places] > 0) & settled[tokens]
        least = torch.where(padded > 0, padded, torch.inf).amin(1)
        return keep, settled, least[settled & least.isfinite()]

    def _sampled_cut(self, pre: Preactivations) -> float:
        sample = pre.rows(slice(None, None, max(1, pre.n // _SAMPLED_ROWS)))
        return self._below_most(torch.topk(sample, self.k, dim=1).values[:, -1])

    def _below_most(self, edges: Tensor) -> float:
        """A cut a little below the least kept value of nearly all tokens."""
        return max(0.0, _CARRIED_SHARE * float(torch.quantile(edges[: 2**20], _UNSETTLED_SHARE)))


def above_threshold(pre: Preactivations, threshold: Tensor) -> SparseCodes:
    """Codes [n, m] of the positive pre-activations above a threshold [] or [m] (inference; JumpReLU)."""
    floor = threshold.clamp_min(0.0)
    found = pre.above(floor if floor.dim() else float(floor))
    own = floor[found.pattern.columns] if floor.dim() else floor
    return _kept(found, found.values > own)


def largest_of_each(pre: Tensor, k: int) -> SparseCodes:
    """Codes [n, m] of the k largest positive pre-activations [n, m] of each token (fewer if fewer are positive)."""
    values, concepts = torch.topk(pre, min(k, pre.shape[1]), dim=1)
    rows = torch.arange(len(pre), device=pre.device).unsqueeze(1).expand_as(concepts)
    positive = values > 0
    return SparseCodes.from_entries(rows[positive], concepts[positive], values[positive], *pre.shape)


def _kept(found: Candidates, keep: Tensor) -> SparseCodes:
    """Codes of the candidates that stay."""
    offsets, columns, n_concepts = found.pattern
    kept = torch.nn.functional.pad(keep.cumsum(0), (1, 0))
    return SparseCodes(kept[offsets], columns[keep], found.values[keep], n_concepts)


def _with_rows(codes: SparseCodes, rows: Tensor, replacements: SparseCodes) -> SparseCodes:
    """Codes whose (empty) `rows` are those of `replacements`."""
    every, concepts = torch.cat([codes.rows(), rows[replacements.rows()]]), [codes.concepts, replacements.concepts]
    activations = torch.cat([codes.activations, replacements.activations])
    return SparseCodes.from_entries(every, torch.cat(concepts), activations, codes.n, codes.n_concepts)
